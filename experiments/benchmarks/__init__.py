"""Ours against what people would use instead: `python -m experiments.benchmarks`."""
