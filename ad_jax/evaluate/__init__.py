"""The truth opened: what a pick was worth. Only the command and experiments import this."""

from ad_jax.evaluate.audit import Audit, Scope, audit, gain, summary
from ad_jax.evaluate.runs import Audited, audit_run, truth_of

__all__ = ["Audit", "Audited", "Scope", "audit", "audit_run", "gain", "summary", "truth_of"]
