"""The truth opened: what a pick was worth. Only the command and experiments import this."""

from ad_jax.evaluate.audit import Audit, Scope, audit, gain, summary

__all__ = ["Audit", "Scope", "audit", "gain", "summary"]
