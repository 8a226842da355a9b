"""Closed forms of the alignment with true anomalies."""

import jax.numpy as jnp
import numpy as np
import pytest

from ad_jax import alignment
from ad_jax.alignment import Parts
from ad_jax.base.errors import InputError
from ad_jax.evaluate import true_alignment

AXES = np.eye(3, dtype=np.float32)
LABELS = np.array([0, 0, 0, 1])


def parts_of(anomaly):
    """Normals at the first axis, augmented at the second, one anomaly of four."""
    target = jnp.asarray(np.stack([AXES[0]] * 3 + [anomaly]))
    return alignment.parts(jnp.asarray(AXES[:1]), jnp.asarray(AXES[1:2]), target)


@pytest.mark.parametrize(
    "anomaly, discordance, separability",
    [(AXES[1], 0.0, 1.0), (AXES[2], 1.0, 0.5), (AXES[0], 0.0, 0.0)],
    ids=["where augmented samples are", "elsewhere", "where normals are"],
)
def test_closed_forms(anomaly, discordance, separability):
    part = parts_of(anomaly)
    members = Parts(*(np.stack([x, x]) for x in part))
    for found in (true_alignment(part, LABELS), *zip(*true_alignment(members, LABELS))):
        np.testing.assert_allclose(found[0], discordance, atol=1e-6)
        np.testing.assert_allclose(found[1], separability, atol=1e-6)
    seen = alignment.separability(part) / 2.0  # by the full distance
    share = LABELS.mean()
    np.testing.assert_allclose(seen, (share * (1 - share)) ** 0.5 * separability, atol=1e-6)


def test_sets_together_have_no_alignment():
    """Rounding alone lies between them: NaN, as where nothing does."""
    train = np.random.default_rng(0).normal(size=(1, 96)).astype(np.float32).repeat(20, 0)
    augmented = np.nextafter(train, np.float32(np.inf))
    part = alignment.parts(*map(jnp.asarray, (train, augmented, train[:4])))
    assert np.isnan(true_alignment(part, LABELS)).all()


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="no anomaly"):
        true_alignment(parts_of(AXES[1]), np.zeros(4))
