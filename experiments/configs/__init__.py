"""Configs of `ad-jax select --config FILE:argument`, which loads them by path."""
