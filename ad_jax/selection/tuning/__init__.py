"""Descend alignment through training, by gradient, in the augmentation's own hyperparameters."""

from ad_jax.selection.tuning.chunks import Step, Trajectory, profile
from ad_jax.selection.tuning.descent import Descent, Start, check, descend, diagnosis, make_job
from ad_jax.selection.tuning.estimators import ESTIMATORS, Bilevel, Estimate
from ad_jax.selection.tuning.loop import Plan
from ad_jax.selection.tuning.losses import OUTER
from ad_jax.selection.tuning.space import TunedSpace, make_space
from ad_jax.selection.tuning.tuned import ON_FEATURES, Tuned, TuneSpec, tune, tuned, work

__all__ = [
    "ESTIMATORS",
    "ON_FEATURES",
    "OUTER",
    "Bilevel",
    "Descent",
    "Estimate",
    "Plan",
    "TunedSpace",
    "Start",
    "Step",
    "Trajectory",
    "TuneSpec",
    "Tuned",
    "check",
    "descend",
    "diagnosis",
    "make_job",
    "make_space",
    "profile",
    "tune",
    "tuned",
    "work",
]
