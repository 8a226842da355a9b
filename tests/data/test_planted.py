"""Planted anomalies: the generator's own samples, nothing of the base's labels, nothing twice."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ad_jax import augment
from ad_jax.augment import CATALOGUE, Augmentation
from ad_jax.base.errors import InputError
from ad_jax.base.space import Range, Space
from ad_jax.data import load, parse
from ad_jax.data.planted import load_planted
from ad_jax.data.problem import Problem
from ad_jax.data.samples import content_hashes
from ad_jax.data.series import from_arrays
from ad_jax.data.truth import Truth

DIGITS = {"base": "digits", "normal": 3, "size": 8}


def _bits(problem: Problem) -> tuple:
    parts = [problem.train, problem.held_out, problem.target, problem.groups]
    return problem.fingerprint, [None if a is None else a.tobytes() for a in parts]


def _from(normals: Problem, generator: str = "quarter_turns", **options):
    """Planted in a problem that is at hand."""
    return load_planted(generator, load_base=lambda base: (normals, None), base="test", **options)


def _images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)


def _set(samples: np.ndarray) -> set[bytes]:
    return {sample.tobytes() for sample in samples}


# What is planted


@pytest.mark.catalogue
@pytest.mark.parametrize(
    ("generator", "hyper"), [("cutpaste", "area:0.2;jitter:0"), ("quarter_turns", "")]
)
def test_anomalies_are_the_generator_applied_by_hand(generator, hyper):
    problem, truth = load(f"planted:{generator}", **DIGITS, hyper=hyper, share="0.3", seed=5)
    labels = truth.open("test")

    base, _ = load("digits", normal=3, size=8)
    assert len(_set(base.train)) == len(base.train)  # so every third, by content, is the target
    kept = np.arange(len(base.train)) % 3 == 0
    train, target = base.train[~kept], base.train[kept]
    values = CATALOGUE[generator].defaults()
    if hyper:
        values |= {"area": 0.2, "jitter": 0.0}
    order_key, donor_key, draw_key = jax.random.split(jax.random.key(5), 3)
    order = jax.random.permutation(order_key, len(target))
    donors = train[jax.random.randint(donor_key, (len(target),), 0, len(train))]
    keys = jax.random.split(draw_key, len(target))
    random = jax.jit(CATALOGUE[generator].random)
    expected, replaced = [], []
    for i in order:
        if len(expected) == round(0.3 * len(target)):
            break
        sample, donor = (np.float32(x) / np.float32(255) for x in (target[i], donors[i]))
        augmented, mask = random(keys[i], values, sample, donor)
        made = np.floor(np.asarray(augmented) * 255 + 0.5).astype(np.uint8)
        if (made != target[i]).any():
            expected.append((made, np.asarray(mask)))
            replaced.append(int(i))

    anomalous = labels.anomalous == 1
    assert _set(problem.target[anomalous]) == {made.tobytes() for made, _ in expected}
    assert _set(problem.target[~anomalous]) == _set(np.delete(target, replaced, axis=0))
    assert _set(problem.train) == _set(train)
    masks = {made.tobytes(): mask for made, mask in expected}
    for row in range(len(problem.target)):
        if generator == "quarter_turns":
            assert labels.masks is None  # all of it changed: nothing to find
        elif anomalous[row]:
            np.testing.assert_array_equal(labels.masks(row), masks[problem.target[row].tobytes()])
        else:
            assert not labels.masks(row).any()


def test_share_kinds_and_facts():
    for share, planted in ((0.2, 7), (0.3, 11), (1e-9, 1), (0.999, 36)):
        problem, truth = load("planted:cutout", **DIGITS, hyper="fill:0.5", share=share, seed=1)
        assert len(problem.target) == len(truth) == 37
        labels = truth.open("test")
        assert labels.anomalous.sum() == planted
        assert [kind != "" for kind in labels.kinds] == labels.anomalous.astype(bool).tolist()
        assert set(labels.kinds) == {"", "cutout"}
        assert labels.facts == {
            "generator": "cutout",
            "hyper": {**CATALOGUE["cutout"].defaults(), "fill": 0.5},
            "share": share,
            "seed": 1,
            "base": "digits",
        }


def test_hyper_is_used():
    problem, truth = load("planted:cutout", **DIGITS, hyper="fill:1;area:0.25;area_spread:1")
    labels = truth.open("test")
    for row in np.flatnonzero(labels.anomalous):
        mask = labels.masks(row)
        assert 8 <= mask.sum() <= 24  # a quarter of 64, up to rounding
        assert (problem.target[row, mask == 1] == 255).all()
    again, _ = load("planted:cutout", **DIGITS, hyper={"area": 0.25, "fill": 1, "area_spread": 1.0})
    assert again.fingerprint == problem.fingerprint


def test_default_base():
    problem, truth = load("planted:quarter_turns")
    base, _ = load("textures:brick-defect")
    assert (len(problem.train), len(problem.target)) == (266, 134)
    np.testing.assert_array_equal(problem.held_out, base.held_out)
    assert _set(problem.train) < _set(base.train)
    assert not _set(problem.target) & _set(base.target)
    assert truth.open("test").anomalous.sum() == 27


def test_random_choices_are_of_the_seed():
    zero, one, other = (load("planted:cutpaste", **DIGITS, seed=s)[0] for s in (0, 1, "1"))
    assert _bits(one) == _bits(other)
    assert zero.fingerprint != one.fingerprint


def test_generators_shares_and_seeds_share_their_trainings():
    problems = [
        load(f"planted:{generator}", **DIGITS, share=share, seed=seed)[0]
        for generator, share, seed in (("cutout", 0.2, 0), ("quarter_turns", 0.4, 3))
    ]
    assert problems[0].train_fingerprint == problems[1].train_fingerprint
    assert problems[0].fingerprint != problems[1].fingerprint


def test_the_same_in_another_process():
    code = (
        "import ad_jax\n"
        "p, _ = ad_jax.load('planted:cutpaste', base='digits', normal=3, size=8, seed=2)\n"
        "print(p.fingerprint)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == load("planted:cutpaste", **DIGITS, seed=2)[0].fingerprint


def test_groups_stay_on_one_side():
    groups = np.repeat(np.arange(12), [6, 5, 4, 4, 3, 3, 2, 2, 2, 2, 2, 1])
    normals = Problem(train=_images(36), target=_images(2, 1), groups=groups)
    group_of = dict(zip(content_hashes(normals.train), normals.groups.tolist(), strict=True))
    problem, truth = _from(normals, share=0.1)
    normal = truth.open("test").anomalous == 0
    train, target = (
        {group_of[h] for h in content_hashes(samples)}
        for samples in (problem.train, problem.target[normal])
    )
    assert not train & target
    assert len(problem.train) + len(problem.target) == 36
    assert 10 <= len(problem.target) <= 14
    for mine, theirs in zip(problem.train, problem.groups, strict=True):
        same = problem.train[problem.groups == theirs]
        assert len({group_of[h] for h in content_hashes(same)}) == 1
        assert mine.tobytes() in _set(same)


def test_copies_stay_on_one_side():
    images = _images(20)
    with pytest.warns(UserWarning, match="20 of 40 train normals are copies"):
        normals = Problem(train=np.concatenate([images, images]), target=images[:2])
    problem, truth = _from(normals)
    normal = truth.open("test").anomalous == 0
    assert not _set(problem.train) & _set(problem.target[normal])
    assert problem.duplicates().exact == []


def test_float_images_stay_floats():
    images = _images(30) / np.float32(255)
    problem, truth = _from(Problem(train=images, target=images[:1]), "cutpaste")
    assert problem.target.dtype == np.float32
    anomalous = truth.open("test").anomalous == 1
    assert _set(problem.target[~anomalous]) < _set(Problem(train=images, target=images).train)
    assert not _set(problem.target[anomalous]) & _set(images)


# The firewall


@pytest.fixture
def folder(mvtec, save, picture):
    for k in range(3):
        save(mvtec / "held_out" / f"{k}.png", picture(50 + k))
    return mvtec


def _rename_train(root):
    for i, file in enumerate(sorted((root / "train/good").iterdir())):
        file.rename(file.with_name(f"r{7 * i % 10}.png"))


def _mix_target(root):
    for i, file in enumerate(sorted((root / "test").rglob("*.png"))):
        file.rename(root / "test" / ("good", "crack", "hole")[5 * i % 3] / f"moved{i}.png")


def _shrink_target(root):
    for file in sorted((root / "test").rglob("*.png"))[1:]:
        file.unlink()


def _unlabel(root):
    (root / "test").rename(root / "target")


@pytest.mark.parametrize("change", [_rename_train, _mix_target, _shrink_target, _unlabel])
def test_names_and_the_bases_target_change_no_bit(folder, change):
    def all_bits():
        problem, truth = load("planted:cutout", base=folder, size=12, share=0.5)
        labels = truth.open("test")
        masks = [labels.masks(row).tobytes() for row in range(len(truth))]
        return _bits(problem), truth.names, labels.anomalous.tolist(), masks

    before = all_bits()
    change(folder)
    assert all_bits() == before


def test_the_bases_truth_stays_sealed(folder, monkeypatch):
    from ad_jax.data import layout

    monkeypatch.setattr(layout, "kind_of", lambda *a: pytest.fail("looked at a label"))
    opened = []
    open_ = Truth.open
    monkeypatch.setattr(Truth, "open", lambda self, why: opened.append(self) or open_(self, why))
    _, truth = load("planted:quarter_turns", base=str(folder), size=12)
    assert opened == []
    truth.open("test")
    assert opened == [truth]


def test_problem_and_names_hold_no_labels():
    problem, truth = load("planted:cutout", **DIGITS, hyper="fill:0.5")
    problem.folds, problem.fingerprint, problem.duplicates()
    for text in (repr(vars(problem)), repr(problem), repr(truth)):
        for word in ("cutout", "fill", "digits", "planted"):
            assert word not in text
    assert truth.names == [f"planted-{i:02d}" for i in range(37)]


def test_data_imports_no_jax_before_it_plants():
    code = "import sys, ad_jax.data; print('jax' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


# Bad input


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("planted:flip", {}, ["planted:flip", "known", "cutpaste"]),
        ("planted:", {}, ["planted:", "known", "cutpaste"]),
        ("planted:identity", {}, ["identity", "nothing", "cutpaste"]),
        ("planted:cutout", {"share": 0}, ["share=0", "above 0 and below 1"]),
        ("planted:cutout", {"share": "1"}, ["share=1.0", "above 0 and below 1"]),
        ("planted:cutout", {"share": "nan"}, ["share=nan", "above 0 and below 1"]),
        ("planted:cutout", {"share": "half"}, ["share='half'", "0.2"]),
        ("planted:cutout", {"seed": -1}, ["seed=-1", "0 to"]),
        ("planted:cutout", {"seed": "x"}, ["seed='x'", "whole"]),
        ("planted:cutout", {"hyper": "size:1"}, ["cutout", "'size'", "area"]),
        ("planted:cutout", {"hyper": "area:9"}, ["area=9.0", "0.8"]),
        ("planted:cutout", {"hyper": "area:nan"}, ["area=nan", "0.8"]),
        ("planted:cutout", {"hyper": "area:0.01", "size": 12}, ["area=0.01", "2 px"]),
        ("planted:cutout", {"hyper": "area"}, ["area", "name:value"]),
        ("planted:cutout", {"hyper": "area:big"}, ["area", "name:value"]),
        ("planted:cutout", {"hyper": 3}, ["hyper=3", "name:value"]),
        ("planted:cutout", {"hyper": "area:0.1;area:0.2"}, ["area", "twice"]),
        ("planted:cutout", {"base": "planted:cutout"}, ["planted:cutout", "digits"]),
        ("planted:cutout", {"base": "nowhere"}, ["'nowhere'", "digits"]),
        ("planted:cutout", {"normal": 3}, ["normal=", "textures:brick-defect", "size"]),
        ("planted:cutout", {"kind": "defect"}, ["kind=", "base"]),
        ("planted:cutout", {"limit": 5}, ["5 train normals", "6"]),
    ],
)
def test_mistakes_say_what_and_how_to_mend(source, options, words):
    with pytest.raises(InputError) as caught:
        load(source, **options)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_bases_that_do_not_suit(tmp_path):
    rows = np.random.default_rng(0).random((20, 3))
    np.savez(tmp_path / "rows.npz", train=rows, target=rows)
    with pytest.raises(InputError, match="rows of shape .3,.; give one of images"):
        load("planted:cutout", base=tmp_path / "rows.npz")
    flat = np.zeros((12, 8, 8, 1), np.uint8) + np.arange(12, dtype=np.uint8)[:, None, None, None]
    normals = Problem(train=flat, target=flat[:1])
    with pytest.raises(InputError, match="changes only 0 of 4 normals, fewer than the 1"):
        _from(normals, "cutpaste", hyper={"jitter": 0.0})
    oblong = Problem(train=_images(24).reshape(24, 4, 16, 1), target=np.zeros((1, 4, 16, 1), "u1"))
    with pytest.raises(InputError, match="quarter_turns needs square images"):
        _from(oblong)
    grouped = Problem(train=_images(20), target=_images(1, 1), groups=[0, 1] * 10)
    with pytest.raises(InputError, match="2 of them independent.*3 groups"):
        _from(grouped)


def test_parse():
    text = "planted:cutpaste,base=digits,normal=3,hyper=area:0.08;jitter:0,share=0.3,seed=4"
    source, options = parse(text)
    assert source == "planted:cutpaste"
    assert options == {
        "base": "digits",
        "normal": "3",
        "hyper": "area:0.08;jitter:0",
        "share": 0.3,
        "seed": 4,
    }


# Series


@pytest.fixture
def raised(monkeypatch):
    """A generator: the middle half of a series is raised by so many spreads."""

    def apply(sample, level, donor):
        time = np.arange(len(sample))
        mask = (time >= len(sample) // 4) & (time < len(sample) * 3 // 4)
        return sample + level * mask[:, None], jnp.asarray(mask, jnp.float32)

    entry = Augmentation(
        apply=apply,
        group="local",
        source="a test",
        draw=lambda key, hyper, shape: hyper["level"],
        space=Space({"level": Range(2.0, 0.5, 8.0, "linear", "spreads", True, "")}),
        takes=("series",),
    )
    monkeypatch.setattr(augment, "get", {"raised": entry}.__getitem__)


def test_anomalies_of_series_are_planted_in_units_of_each_channel(raised):
    values = np.random.default_rng(0).standard_normal((1600, 3)) * [1, 100, 1e-3] + [0, 1e4, 5]
    values[:, 2] = 5  # constant
    base, _ = from_arrays(values, 1200, length=16)
    problem, truth = _from(base, "raised", share=0.25, hyper={"level": 3.0})
    assert problem.series and not problem.distinct and problem.shape == (16, 3)
    assert len(problem.train) + len(problem.target) == len(base.train)
    # Whole blocks of time move, so windows of both parts share no point.
    assert len(set(problem.groups)) == len(set(base.groups)) - 3 and problem.period == 4
    labels = truth.open("test")
    assert labels.anomalous.sum() == round(0.25 * len(problem.target))
    known = _set(base.train)
    spread = np.append(base.train[..., :2].std((0, 1)), 1)
    by_middle = {w[:4].tobytes() + w[12:].tobytes(): w for w in base.train}
    for row, window in enumerate(problem.target):
        before = by_middle[window[:4].tobytes() + window[12:].tobytes()]  # edges stay to the bit
        assert (window.tobytes() in known) == (labels.anomalous[row] == 0)
        expected = 3.0 * spread * (np.arange(16) // 4 % 3 > 0)[:, None] * labels.anomalous[row]
        np.testing.assert_allclose(window - before, expected, rtol=1e-3, atol=1e-5)
        np.testing.assert_array_equal(labels.masks(row), expected[:, 0] > 0)


def test_generators_of_images_do_not_plant_in_series():
    with pytest.raises(InputError, match=r"cutout needs images"):
        load("planted:cutout", base="series")
    with pytest.raises(InputError, match=r"holds rows of shape \(3,\)"):
        _from(Problem(train=np.random.rand(30, 3), target=np.random.rand(3, 3)))
