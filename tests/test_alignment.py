"""DSV and its neighbours: closed forms, a slow obvious twin, gradients in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ad_jax import alignment
from ad_jax.alignment import FORMS, Parts, between, dsv, dsv_from_parts, mean_distances, mmd, parts
from ad_jax.base.errors import InputError
from ad_jax.base.numerics import normalise, rowwise, safe_sqrt, squared_distances

# Compiled once for a shape; uncompiled, every call would compile its blocks anew.
compiled_parts = jax.jit(parts)
compiled_from_parts = jax.jit(dsv_from_parts, static_argnames="form")
EYE = np.eye(3, dtype=np.float32)


def compiled(z_train, z_augmented, z_target, form="code", alpha=0.5):
    """`dsv` (`test_stored_parts_give_what_embeddings_give`), its slow half shared by the forms."""
    return compiled_from_parts(compiled_parts(z_train, z_augmented, z_target), form, alpha)


def at(*counts):
    """Points on the orthogonal unit vectors a, b, c, so many on each."""
    return np.repeat(EYE[: len(counts)], counts, axis=0)


def sets(seed=0, sizes=(13, 11, 17), width=5, dtype=np.float32):
    """Embeddings of unequal length, the augmented set moved away from the training set."""
    rng = np.random.default_rng(seed)
    train, augmented, target = (rng.normal(size=(n, width)) + 0.5 for n in sizes)
    augmented[:, 0] += 2.0
    target[::3, 0] += 2.0
    return tuple(z.astype(dtype) for z in (train, augmented, target))


# ---- closed forms: training set at a, augmented set at b ----


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_perfect_alignment_in_closed_form(alpha, share):
    anomalies = round(100 * share)
    embeddings = at(200), at(0, 22), at(100 - anomalies, anomalies)
    dis = (1 - alpha) * share + alpha * (1 - share)
    spread = np.sqrt(share * (1 - share))
    for form, sep in (
        ("code", min(2 * spread, 0.5)),
        ("uncapped", 2 * spread),
        ("formula", min(spread, 0.5)),
    ):
        got = compiled(*embeddings, form=form, alpha=alpha)
        np.testing.assert_allclose(got, (dis - sep / dis, dis, sep), rtol=1e-4)


@pytest.mark.parametrize(
    ("target", "alpha", "form", "loss", "dis", "sep"),
    [
        ((50, 50), 0.5, "code", -0.5, 0.5, 0.5),  # anomalies exactly where expected
        ((50, 50), 0.5, "uncapped", -1.5, 0.5, 1.0),
        ((50, 50), 0.5, "formula", -0.5, 0.5, 0.5),
        ((90, 10), 0.1, "code", 0.18 - 0.5 / 0.18, 0.18, 0.5),
        ((90, 10), 0.1, "uncapped", 0.18 - 0.6 / 0.18, 0.18, 0.6),
        ((90, 10), 0.1, "formula", 0.18 - 0.3 / 0.18, 0.18, 0.3),
        ((90, 10), 22 / 222, "code", -2.610, 0.17928, 0.5),  # 200 training, 22 augmented samples
        ((100,), 0.5, "code", 0.5, 0.5, 0.0),  # no anomalies
        ((100,), 0.1, "code", 0.1, 0.1, 0.0),
        ((50, 0, 50), 0.5, "code", 0.0833, 0.75, 0.5),  # anomalies elsewhere
    ],
)
def test_published_values(target, alpha, form, loss, dis, sep):
    got = compiled(at(200), at(0, 22), at(*target), form=form, alpha=alpha)
    np.testing.assert_allclose(got, (loss, dis, sep), atol=4e-4)


def test_the_other_losses_in_closed_form():
    half = np.sqrt(2) / 2  # the halved distance of a and b
    part = compiled_parts(at(200), at(0, 22), at(75, 25))
    np.testing.assert_allclose(part.between, half, rtol=1e-6)
    np.testing.assert_allclose(alignment.base(part), half / 2, rtol=1e-5)
    np.testing.assert_allclose(alignment.base(part, 0.25), half * 0.375, rtol=1e-5)
    np.testing.assert_allclose(alignment.std(part), -half / 2, rtol=1e-5)
    # [train; augmented] weighs (.5, .5), the target (.75, .25)
    np.testing.assert_allclose(mmd(at(200), at(0, 22), at(75, 25)), 2 * 0.25**2, rtol=1e-5)
    np.testing.assert_allclose(mmd(at(200), at(0, 22), at(75, 25), alpha=0.25), 0.0, atol=1e-12)


# ---- the slow twin ----


def unit(z):
    z = np.asarray(z, np.float64)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def matrix(x, y):
    return np.array([[np.linalg.norm(a - b) for b in y] for a in x])


def twin_dsv(z_train, z_augmented, z_target, form, alpha):
    """Equations of arXiv 2307.06534, every pair written out."""
    train, augmented, target = map(unit, (z_train, z_augmented, z_target))
    half = 1.0 if form == "formula" else 0.5
    apart = half * matrix(train, augmented).mean()
    mixed = (1 - alpha) * matrix(train, target).mean() + alpha * matrix(augmented, target).mean()
    dis = half * mixed / apart
    mu = train.mean(0)
    projections = [
        np.dot(z - mu, (u - mu) / np.linalg.norm(u - mu)) for u in augmented for z in target
    ]
    sep = np.std(projections) / apart
    sep = sep if form == "uncapped" else min(sep, 0.5)
    return dis - sep / dis, dis, sep


@pytest.mark.parametrize("alpha", [0.1, 0.5])
@pytest.mark.parametrize("form", FORMS)
def test_dsv_is_its_twin(form, alpha):
    for seed in range(3):
        expected = twin_dsv(*sets(seed), form, alpha)
        got = compiled(*sets(seed), form=form, alpha=alpha)
        np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_the_other_losses_are_their_twins():
    train, augmented, target = map(unit, sets())
    alpha = 11 / 24  # by counts: the pooled set then weighs every sample alike
    pooled = matrix(np.concatenate([train, augmented]), target) / 2
    part = compiled_parts(*sets())
    np.testing.assert_allclose(alignment.base(part, alpha), pooled.mean(), rtol=1e-5)
    np.testing.assert_allclose(alignment.std(part, alpha), -pooled.std(), rtol=1e-4)
    mean = np.concatenate([train, augmented]).mean(0)
    expected = ((mean - target.mean(0)) ** 2).sum()
    np.testing.assert_allclose(mmd(*sets(), alpha), expected, rtol=1e-4)
    weights = np.arange(17, dtype=np.float32) / np.arange(17).sum()
    expected = ((mean - weights @ target) ** 2).sum()
    np.testing.assert_allclose(mmd(*sets(), alpha, target_weights=weights), expected, rtol=1e-4)


# ---- parts ----


def test_parts_are_per_sample_means():
    train, augmented, target = map(unit, sets())
    mu = train.mean(0)
    projections = (target - mu) @ unit(augmented - mu).T
    to_train, to_augmented = matrix(target, train) / 2, matrix(target, augmented) / 2
    expected = Parts(
        to_train.mean(1), to_augmented.mean(1), (to_train**2).mean(1), (to_augmented**2).mean(1),
        projections.mean(1), (projections**2).mean(1), matrix(train, augmented).mean() / 2,
    )  # fmt: skip
    for got, value in zip(compiled_parts(*sets()), expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_stored_parts_give_what_embeddings_give(form):
    train, augmented, target = sets()
    part = compiled_parts(train, augmented, target)
    direct = dsv(train, augmented, target, form, 0.3)
    np.testing.assert_allclose(dsv_from_parts(part, form, 0.3), direct, rtol=1e-5)
    some = np.arange(0, 17, 2)
    subset = Parts(*(x[some] for x in part[:-1]), part.between)
    direct = compiled(train, augmented, target[some], form, 0.3)
    np.testing.assert_allclose(dsv_from_parts(subset, form, 0.3), direct, rtol=1e-5)


def test_lengths_of_embeddings_do_not_matter():
    train, augmented, target = sets()
    got = compiled(100.0 * train, 0.01 * augmented, 7.0 * target, "uncapped")
    np.testing.assert_allclose(got, compiled(*sets(), "uncapped"), rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 8, 9, 16])
def test_blocks_do_not_show(rows):
    x = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
    total, squares = rowwise(lambda b: (b.sum(1), b**2), x, block=8)
    np.testing.assert_allclose(total, x.sum(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(squares, x**2)


@pytest.mark.parametrize("rows", [1, 256, 257, 600])
def test_distances_do_not_depend_on_the_block(rows):
    x, y, _ = (normalise(z) for z in sets(sizes=(rows, 9, 1)))
    square = ((np.asarray(x)[:, None] - np.asarray(y)[None]) ** 2).sum(-1) / 4
    mean, mean_square = mean_distances(x, y)
    np.testing.assert_allclose(mean, np.sqrt(square).mean(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean_square, square.mean(1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(between(y, x), np.sqrt(square).mean(), rtol=1e-5)


@pytest.mark.parametrize("function", [dsv, mmd])
def test_jit_and_vmap_change_nothing(function):
    loop = [function(*sets(seed)) for seed in range(2)]
    batch = [np.stack(z) for z in zip(*(sets(seed) for seed in range(2)), strict=True)]
    for got, *one in zip(
        jax.tree.leaves(jax.jit(jax.vmap(function))(*batch)),
        *map(jax.tree.leaves, loop),
        strict=True,
    ):
        np.testing.assert_allclose(got, one, rtol=1e-4)
    jitted = jax.jit(function)(*sets(0))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4), jitted, loop[0])


# ---- gradients ----


def losses(z):
    """Every loss of three sets."""
    part = parts(*z)
    values = {form: dsv_from_parts(part, form, 0.4).loss for form in FORMS}
    return {
        **values,
        "base": alignment.base(part, 0.4),
        "std": alignment.std(part, 0.4),
        "mmd": mmd(*z, 0.4),
        "separability": alignment.separability(part),
    }


@jax.jit
def gradients_of_all(z):
    return losses(z), jax.jacrev(losses)(z)


def test_gradients_equal_finite_differences():
    # In float64; the float32 gradient has to agree with that one.
    small = {"sizes": (8, 8, 8), "width": 3}
    _, single = gradients_of_all(sets(**small))
    step = 1e-5
    with jax.enable_x64(True), jax.debug_nans(True):
        z, ahead = sets(**small, dtype=np.float64), sets(9, **small, dtype=np.float64)
        _, gradients = gradients_of_all(z)
        forward = jax.jit(losses)
        up, down = (
            forward(tuple(x + s * d for x, d in zip(z, ahead, strict=True))) for s in (step, -step)
        )
        for name, gradient in gradients.items():
            expected = (up[name] - down[name]) / (2 * step)
            got = sum((g * d).sum() for g, d in zip(gradient, ahead, strict=True))
            assert abs(expected) > 1e-4, name
            np.testing.assert_allclose(got, expected, rtol=1e-6, err_msg=name)
        for one, two in zip(jax.tree.leaves(single), jax.tree.leaves(gradients), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-2, atol=1e-4)


line = np.array([[0.6, 0.0, 0.8]], np.float32)
signs = np.where(np.arange(8) % 2, 1.0, -1.0).astype(np.float32)[:, None]
direction = np.array([[0.1, -0.7, 0.3]], np.float32)
DEGENERATE = {
    "zero": (np.zeros((8, 3), np.float32),) * 3,
    "one point": (direction.repeat(8, 0),) * 3,
    "axis": (at(8), at(8), at(8)),
    "a line through the origin": (signs * line, signs * line, -signs * line),
    "training = augmented": (at(4, 4), at(4, 4), at(0, 0, 8)),
    "target = training": (at(8), at(0, 8), at(8)),
    "augmented at the training mean": (
        at(4, 4),
        at(4, 4).mean(0, keepdims=True).repeat(8, 0),
        at(0, 0, 8),
    ),
    "some rows zero": (at(8), np.concatenate([at(0, 4), np.zeros((4, 3), np.float32)]), at(4, 4)),
    "opposite": (line.repeat(8, 0), -line.repeat(8, 0), signs * line),
    "tiny": (1e-25 * at(8), 1e-12 * at(0, 8), 1e-30 * at(4, 4)),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_gradients_are_finite_everywhere(case, nans_raise):
    values, gradients = gradients_of_all(DEGENERATE[case])
    for leaf in jax.tree.leaves((values, gradients)):
        assert np.isfinite(leaf).all()


def test_nan_stays_nan():
    """A distance that is not known must not become the smallest one."""
    assert np.isnan(safe_sqrt(np.nan)) and safe_sqrt(np.inf) == np.inf


def test_numerics_have_gradient_zero_where_it_would_be_infinite(nans_raise):
    assert jax.grad(safe_sqrt)(0.0) == 0.0 and jax.grad(safe_sqrt)(-1.0) == 0.0
    np.testing.assert_allclose(jax.grad(safe_sqrt)(4.0), 0.25)
    zero = jnp.zeros((2, 3))
    np.testing.assert_array_equal(normalise(zero), zero)
    assert np.isfinite(jax.jit(jax.jacrev(normalise))(zero)).all()
    x = jnp.asarray(EYE)
    assert (squared_distances(x, x) >= 0).all()
    gradient = jax.jit(jax.grad(lambda x: safe_sqrt(squared_distances(x, EYE)).sum()))
    assert np.isfinite(gradient(x)).all()


# ---- a collapsed network ----


def test_a_collapsed_network_fools_the_uncapped_loss():
    """Why members are gated: an augmentation that went unseen can beat a perfectly aligned one.

    All embeddings on one line through the origin, augmented and target sets distributed as the
    training set: nothing was learned. Without the cap the loss is below that of anomalies exactly
    where the augmentation expects them, with the cap it's far above.
    """
    rng = np.random.default_rng(0)
    collapsed = [
        rng.choice([-1.0, 1.0], (100, 1)).astype(np.float32)
        * rng.uniform(0.5, 2.0, (100, 1))
        * line
        for _ in range(3)
    ]
    for share in (0.1, 0.25):
        aligned = at(100), at(0, 100), at(100 - round(100 * share), round(100 * share))
        assert compiled(*collapsed, "uncapped").loss < compiled(*aligned, "code").loss
        assert compiled(*collapsed, "code").loss > compiled(*aligned, "code").loss + 0.5
    np.testing.assert_allclose(compiled(*collapsed, "uncapped").loss, -1.0, atol=0.1)
    np.testing.assert_allclose(compiled(*collapsed, "code").loss, 0.5, atol=0.1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_a_dead_network_is_not_aligned(form, seed):
    """All embeddings in one point: no distance to divide by, and rounding must not make one."""
    point = np.random.default_rng(seed).normal(size=(1, 32)).astype(np.float32).repeat(20, 0)
    # Where rounding leaves a distance, it is the same in numerator and denominator.
    np.testing.assert_allclose(compiled(point, point, point, form), (1.0, 1.0, 0.0), atol=0.02)
    part = compiled_parts(point, point, point)
    np.testing.assert_allclose(alignment.discordance(part), 1.0, atol=0.02)
    np.testing.assert_allclose(alignment.separability(part), 0.0, atol=0.02)


def near(apart, count, seed, width=96, moved=0.0):
    """Unit vectors around one point, `apart` from it, half as far again along one axis."""
    point = np.random.default_rng(0).normal(size=width)
    generator = np.random.default_rng(seed)
    away = generator.normal(size=(count, width)) / np.sqrt(width)
    away[:, 0] += moved
    return (point + apart * np.linalg.norm(point) * away).astype(np.float32)


@pytest.mark.parametrize("apart", [1.2e-6, 1e-5, 1e-4, 1e-3, 1e-1])
def test_near_sets_are_told_apart_down_to_the_limit(apart):
    """DSV and std against float64. At `TOGETHER` rounding of unit vectors is 6 % of a distance."""
    train, augmented = near(apart, 60, 1), near(apart, 60, 2, moved=2.0)
    target = np.concatenate([near(apart, 40, 3), near(apart, 20, 4, moved=2.0)])
    part = compiled_parts(train, augmented, target)
    assert part.between > alignment.TOGETHER
    expected = twin_dsv(train, augmented, target, "uncapped", 0.5)
    got = compiled(train, augmented, target, "uncapped", 0.5)
    np.testing.assert_allclose(got, expected, rtol=0.06)
    pooled = np.concatenate([matrix(unit(z), unit(target)).ravel() for z in (train, augmented)]) / 2
    np.testing.assert_allclose(alignment.std(part), -pooled.std(), rtol=0.06)


@pytest.mark.parametrize("seed", range(3))
def test_sets_one_unit_in_the_last_place_apart_are_together(seed):
    train = np.random.default_rng(seed).normal(size=(1, 96)).astype(np.float32).repeat(20, 0)
    augmented = np.nextafter(train, np.float32(np.inf))
    part = compiled_parts(train, augmented, np.concatenate([train, augmented]))
    assert part.between < alignment.TOGETHER
    assert alignment.discordance(part) == 1.0 and alignment.separability(part) == 0.0


# ---- mistakes ----


@pytest.mark.parametrize("alpha", [0.0, 1.0, 0, 1, -0.1, 1.5, float("nan")])
def test_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(InputError, match=rf"^alpha={alpha} [^\n]*0 < alpha < 1$"):
        dsv_from_parts(Parts(*np.ones((6, 3)), np.float64(1.0)), alpha=alpha)


def test_an_unknown_form_lists_the_known_ones():
    with pytest.raises(InputError, match="^no DSV form 'paper'; known: code, uncapped, formula$"):
        dsv(*sets(), form="paper")


def test_unequal_widths_are_refused():
    train, augmented, target = sets()
    with pytest.raises(InputError, match=r"widths \[4, 5\]"):
        dsv(train, augmented[:, :4], target)
