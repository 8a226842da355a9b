"""The truth opened: what a pick was worth. Only the command and experiments import this."""

from ad_jax.evaluate.audit import Audit, Scope, audit, gain, summary
from ad_jax.evaluate.runs import Audited, audit_run, truth_of
from ad_jax.evaluate.snooping import Snooping, snooping

__all__ = [
    "Audit",
    "Audited",
    "Scope",
    "Snooping",
    "audit",
    "audit_run",
    "gain",
    "snooping",
    "summary",
    "truth_of",
]
