"""The truth opened: what a pick was worth. Only the command and experiments import this."""

from ad_jax.evaluate.alignment import TrueAlignment, true_alignment
from ad_jax.evaluate.assessment import Assessment, assess_run
from ad_jax.evaluate.audit import Audit, Scope, Selected, Tried, audit, gain
from ad_jax.evaluate.labels import labels_by_name, labels_file
from ad_jax.evaluate.over_tasks import snooping_summary, summary
from ad_jax.evaluate.pools import PoolAudit, audit_pool
from ad_jax.evaluate.runs import Audited, Opened, audit_run, open_run, truth_of
from ad_jax.evaluate.snooping import Snooping, snooping

__all__ = [
    "Assessment",
    "Audit",
    "Audited",
    "Opened",
    "PoolAudit",
    "Scope",
    "Selected",
    "Snooping",
    "Tried",
    "TrueAlignment",
    "assess_run",
    "audit",
    "audit_pool",
    "audit_run",
    "gain",
    "labels_by_name",
    "labels_file",
    "open_run",
    "snooping",
    "snooping_summary",
    "summary",
    "true_alignment",
    "truth_of",
]
