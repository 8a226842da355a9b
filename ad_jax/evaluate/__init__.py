"""Truth opened, the only room that sees labels: what a pick cost, what labels would have bought."""

from ad_jax.evaluate.audit import Audit, audit, summary

__all__ = ["Audit", "audit", "summary"]
