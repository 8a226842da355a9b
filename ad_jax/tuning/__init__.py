"""Descend alignment through training, by gradient, in the augmentation's own hyperparameters."""

from ad_jax.tuning.descent import Step, Trajectory
from ad_jax.tuning.estimators import ESTIMATORS, Bilevel, Estimate
from ad_jax.tuning.loop import Plan
from ad_jax.tuning.losses import OUTER
from ad_jax.tuning.space import Space, make_space
from ad_jax.tuning.tuned import Start, Tuned, tune

__all__ = [
    "ESTIMATORS",
    "OUTER",
    "Bilevel",
    "Estimate",
    "Plan",
    "Space",
    "Start",
    "Step",
    "Trajectory",
    "Tuned",
    "make_space",
    "tune",
]
