"""Truth opened: the only room that sees labels. What a pick cost, and what labels would have bought."""

from ad_jax.evaluate.audit import Audit, audit, summary

__all__ = ["Audit", "audit", "summary"]
