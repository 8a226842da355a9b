"""The truth opened: what a pick was worth. Only the command and experiments import this."""

from ad_jax.evaluate.audit import Audit, Scope, audit, gain, summary
from ad_jax.evaluate.bought import Snooping, snooping, snooping_summary
from ad_jax.evaluate.runs import Audited, audit_run, truth_of

__all__ = [
    "Audit",
    "Audited",
    "Scope",
    "Snooping",
    "audit",
    "audit_run",
    "gain",
    "snooping",
    "snooping_summary",
    "summary",
    "truth_of",
]
