"""Closed forms of the alignment with true anomalies."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from ad_jax import alignment
from ad_jax.alignment import Parts
from ad_jax.errors import InputError
from ad_jax.evaluate import true_alignment
from ad_jax.pool import Member as OneMember
from ad_jax.pool import Pool, Setting

AXES = np.eye(3, dtype=np.float32)
LABELS = np.array([0, 0, 0, 1])


def pool_of(anomaly):
    """One member: normals at the first axis, augmented at the second, one anomaly of four."""
    target = jnp.asarray(np.stack([AXES[0]] * 3 + [anomaly]))
    part = alignment.parts(jnp.asarray(AXES[:1]), jnp.asarray(AXES[1:2]), target)
    member = OneMember(Setting("binary", "cutpaste", {}), 0, "ok", 0.1, 1.0, 1.0)
    whole = Parts(*(np.asarray(x)[None] for x in part))
    scores = np.zeros((1, 1, 4))
    return Pool((member,), scores, scores, whole, whole, default_head=np.zeros(1, int)), part


@pytest.mark.parametrize(
    "anomaly, discordance, separability",
    [(AXES[1], 0.0, 1.0), (AXES[2], 1.0, 0.5), (AXES[0], 0.0, 0.0)],
    ids=["where augmented samples are", "elsewhere", "where normals are"],
)
def test_closed_forms(anomaly, discordance, separability):
    pool, part = pool_of(anomaly)
    found = true_alignment(pool, LABELS)
    np.testing.assert_allclose(found.discordance, [discordance], atol=1e-6)
    np.testing.assert_allclose(found.separability, [separability], atol=1e-6)
    seen = alignment.separability(part) / 2.0  # by the full distance
    share = LABELS.mean()
    np.testing.assert_allclose(seen, (share * (1 - share)) ** 0.5 * separability, atol=1e-6)


def test_what_cannot_be_is_refused():
    pool, _ = pool_of(AXES[1])
    with pytest.raises(InputError, match="no anomaly"):
        true_alignment(pool, np.zeros(4))
    with pytest.raises(InputError, match="needs a pool with alignment parts"):
        true_alignment(dataclasses.replace(pool, parts=None), LABELS)
