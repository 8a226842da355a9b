"""Problem: checks, content order, folds, fingerprints, duplicates. Truth: the seal."""

import io
import pickle
import subprocess
import sys
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from ad_jax.base.errors import InputError
from ad_jax.data import duplicates
from ad_jax.data.duplicates import find_copies
from ad_jax.data.folds import FOLDS
from ad_jax.data.problem import Problem, sealed
from ad_jax.data.samples import as_samples, content_hashes, mask_of, resize
from ad_jax.data.truth import Labels, Truth, unlabelled


def _images(n: int, seed: int = 0, shape: tuple[int, ...] = (5, 4, 1)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def _problem(n: int = 12, **changes) -> Problem:
    return Problem(**{"train": _images(n), "target": _images(6, 1), **changes})


# Checks


def test_channel_axis_dtype_and_read_only():
    problem = Problem(train=_images(8)[..., 0], target=_images(3, 1))
    assert problem.train.shape == (8, 5, 4, 1)
    assert problem.shape == (5, 4, 1)
    assert problem.train.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        problem.train[0] = 0
    floats = Problem(train=np.random.rand(8, 5, 4, 3), target=np.random.rand(2, 5, 4, 3))
    assert floats.train.dtype == np.float32


def test_rows_pass_through():
    rows = np.arange(24).reshape(8, 3) - 5
    problem = Problem(train=rows, target=rows[:2].astype(np.float64) * 7)
    assert problem.shape == (3,)
    assert problem.train.dtype == problem.target.dtype == np.float32
    assert sorted(map(tuple, problem.train)) == sorted(map(tuple, rows.astype(np.float32)))


def test_input_is_copied():
    train = _images(8)
    problem = Problem(train=train, target=_images(2, 1))
    before = problem.train.copy()
    train[:] = 0
    np.testing.assert_array_equal(problem.train, before)


class _OnDevice:
    """An array of another library that does not become one of numpy."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert a tensor on cuda:0;\nuse .cpu() first")


_nan = np.zeros((8, 3))
_nan[5, 1] = np.nan


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": _images(0)}, ["train", "0 sample", "at least 1"]),
        ({"target": _images(0)}, ["target", "0 sample", "at least 1"]),
        ({"held_out": _images(1)}, ["held_out", "at least 2"]),
        ({"target": _images(3, shape=(5, 5, 1))}, ["shape", "(5, 4, 1)", "target", "(5, 5, 1)"]),
        ({"target": _images(3) / 255}, ["dtype", "uint8", "target", "float32"]),
        ({"train": _nan, "target": np.zeros((2, 3))}, ["train", "not finite", "row 5"]),
        ({"train": np.full((8, 3), 1e300), "target": np.zeros((2, 3))}, ["not finite", "row 0"]),
        ({"train": _images(8).astype(float)}, ["train", "[0, 1]"]),
        ({"train": _images(8).astype(int)}, ["int64", "uint8"]),
        ({"train": np.array([["a"]])}, ["train", "dtype"]),
        ({"train": np.zeros(5)}, ["train", "(5,)", "[n, h, w, c]"]),
        ({"train": np.zeros((4, 0))}, ["train", "(4, 0)"]),
        ({"train": np.zeros((9, 3, 8, 8), np.uint8)}, ["channels first", "[n, h, w, c]"]),
        ({"train": [np.zeros((2, 2)), np.zeros((3, 2))]}, ["train", "unequal"]),
        ({"groups": [1, 2]}, ["groups", "2 values", "12 train"]),
        ({"groups": [[]] * 12}, ["groups", "hashable"]),
        ({"groups": 3}, ["groups", "int", "list"]),
        ({"groups": dict.fromkeys(range(12))}, ["groups", "dict", "list"]),
        ({"groups": "aabbccddeeff"}, ["groups", "str", "list"]),
        ({"groups": ["a"] * 6 + [None] * 6}, ["groups", "None", "row 6"]),
        ({"groups": np.array([0.0, np.nan] * 6)}, ["groups", "nan", "row 1"]),
        ({"train": np.ma.masked_equal(_images(8), 7)}, ["train", "masked", "drop"]),
        ({"target": _OnDevice()}, ["target", "_OnDevice", "use .cpu() first", "convert"]),
    ],
)
def test_mistakes_say_what_and_how_to_mend(changes, words):
    with pytest.raises(InputError) as caught:
        _problem(**changes)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_small_overshoot_of_a_resize_is_clipped():
    samples = as_samples("x", np.full((2, 3, 3, 1), 1 + 1e-6))
    assert samples.max() == 1


# Order and fingerprints


def test_order_is_of_content():
    train, target = _images(12), _images(6, 1)
    a = Problem(train=train, target=target)
    b = Problem(train=train[::-1], target=np.random.default_rng(3).permutation(target))
    np.testing.assert_array_equal(a.train, b.train)
    np.testing.assert_array_equal(a.target, b.target)
    assert a.fingerprint == b.fingerprint
    assert a.sample_hashes == b.sample_hashes == sorted(content_hashes(target))
    assert content_hashes(a.target) == a.sample_hashes


def test_negative_zero_is_zero():
    rows = np.zeros((8, 2))
    assert content_hashes(as_samples("x", -rows)) == content_hashes(as_samples("x", rows))


def test_fingerprint_sees_every_part():
    base = _problem()
    held = _problem(held_out=_images(3, 5))
    changed = {
        "train": _problem(train=_images(12, 7)),
        "target": _problem(target=_images(6, 7)),
        "held_out": held,
        "other held_out": _problem(held_out=_images(3, 6)),
        "groups": _problem(groups=[i // 3 for i in range(12)]),
        "other groups": _problem(groups=[i % 4 for i in range(12)]),
        "shape": _problem(
            train=_images(12).reshape(12, 4, 5, 1), target=_images(6, 1).reshape(6, 4, 5, 1)
        ),
        "part": Problem(train=held.train, target=held.held_out, held_out=held.target),
    }
    prints = {name: p.fingerprint for name, p in changed.items()} | {"base": base.fingerprint}
    assert len(set(prints.values())) == len(prints)
    assert changed["target"].train_fingerprint == base.train_fingerprint
    for name in set(changed) - {"target"}:
        assert changed[name].train_fingerprint != base.train_fingerprint, name


def test_fingerprint_is_stable_over_processes_and_versions():
    code = (
        "import numpy as np; from ad_jax.data.problem import Problem\n"
        "a = np.arange(120, dtype=np.uint8).reshape(10, 4, 3, 1)\n"
        "print(Problem(train=a, target=a[:3] + 9, groups=[*'abcdeabcde']).fingerprint)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Recorded; it may change only together with `_FORMAT`.
    assert out.stdout.strip() == FROZEN


FROZEN = "d90aee8591eba4aef4fcc3ad752957cdc959caad6871718378daaa70a871fc82"


def test_group_names_and_order_leave_no_trace():
    train = _images(12)
    groups = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4])
    a = Problem(train=train, target=_images(2, 1), groups=groups)
    order = np.random.default_rng(0).permutation(12)
    names = [f"object {9 - g}" for g in groups[order]]
    b = Problem(train=train[order], target=_images(2, 1), groups=names)
    np.testing.assert_array_equal(a.groups, b.groups)
    np.testing.assert_array_equal(a.folds, b.folds)
    assert a.fingerprint == b.fingerprint
    assert a.groups.dtype == np.int32


def test_equal_samples_in_different_groups_keep_a_content_order():
    x, y, z = _images(3)
    train, groups = np.stack([x, x, y, z] * 3), list("abab" + "cdcd" + "efef")
    kept = {"target": _images(2, 1), "distinct": False}
    a = Problem(train=train, groups=groups, **kept)
    order = np.random.default_rng(1).permutation(12)
    b = Problem(train=train[order], groups=[groups[i] for i in order], **kept)
    np.testing.assert_array_equal(a.groups, b.groups)
    assert a.fingerprint == b.fingerprint


def test_limit_cuts_equal_samples_of_two_groups_alike_in_any_order():
    """The copy that stays is its group's by content, not the one that came first."""
    train = _images(11)
    train = train[np.argsort(content_hashes(train), kind="stable")]
    train = np.concatenate([train[:9], train[8:]])  # rows 8 and 9 are equal, one is cut
    groups = list("abcdeeee") + ["e", "f"] + list("ff")
    parts = {"target": _images(3, 1), "held_out": _images(2, 2)}
    about = {"names": list("xyz"), "read": _labels, "limit": 9}
    found = []
    for order in (np.arange(12), np.arange(12)[::-1]):
        one = {"train": train[order], "groups": [groups[i] for i in order]}
        problem, _ = sealed(**one, **parts, **about)
        found.append((problem.fingerprint, problem.groups.tolist()))
    assert found[0] == found[1]


def test_problem_pickles_and_prints_no_arrays():
    problem = _problem()
    again = pickle.loads(pickle.dumps(problem))
    assert again.fingerprint == problem.fingerprint
    assert len(repr(problem)) < 200


# Folds


@pytest.mark.parametrize("n", [8, 9, 11, 30])
def test_folds_rotate_and_keep_one_shape(n):
    problem = _problem(n)
    splits = [problem.split(seed) for seed in range(2 * FOLDS)]
    assert len({s.train.shape for s in splits}) == len({s.held_out.shape for s in splits}) == 1
    assert len(splits[0].held_out) == n // FOLDS
    assert len(splits[0].train) == n - -(-n // FOLDS)
    held = [set(content_hashes(s.held_out)) for s in splits]
    for split, hashes in zip(splits, held, strict=True):
        assert not hashes & set(content_hashes(split.train))
    assert held[1] == held[1 + FOLDS]
    for other in held[1:FOLDS]:
        assert not held[0] & other


def test_held_out_given_is_always_used():
    problem = _problem(3, held_out=_images(4, 9))
    for seed in range(3):
        assert problem.split(seed).train is problem.train
        assert problem.split(seed).held_out is problem.held_out


def test_groups_stay_whole_and_balanced():
    groups = np.repeat(np.arange(9), [6, 5, 4, 3, 3, 2, 2, 2, 1])
    problem = _problem(len(groups), groups=groups)
    for group in range(9):
        assert len(set(problem.folds[problem.groups == group])) == 1
    # By hand: 6, 5, 4, 3; then 3 to the fourth, 2 to the third, 2 to the second, 2 and 1.
    assert sorted(np.bincount(problem.folds)) == [6, 7, 7, 8]
    for seed in range(FOLDS):
        train, held_out = problem.split_rows(seed)
        assert not set(problem.groups[train]) & set(problem.groups[held_out])


def test_copies_of_a_sample_are_never_split():
    train = np.concatenate([_images(10), _images(10)[:5]])
    problem = _problem(train=train, distinct=False)
    assert len(problem.train) == 15
    for seed in range(FOLDS):
        split = problem.split(seed)
        assert not set(content_hashes(split.train)) & set(content_hashes(split.held_out))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": _images(1)}, ["1 sample", "turns=8", "held_out"]),
        ({"groups": [0] * 12}, ["1 of its groups", "held_out"]),
        ({"groups": [0, 1, 2] + [3] * 9}, ["[9, 1, 1, 1]", "held_out"]),
        (
            {"train": np.tile(_images(1), (6, 1, 1, 1)), "distinct": False},
            ["1 of its different samples", "held_out"],
        ),
    ],
)
def test_too_few_to_fold(changes, words):
    problem = _problem(**changes)
    assert problem.fingerprint  # a problem with its own use even where folds are impossible
    with pytest.raises(InputError) as caught:
        problem.split(0)
    for word in words:
        assert word in str(caught.value)


def test_copies_among_few_normals_count_once():
    with pytest.warns(UserWarning, match="10 of 12 train normals are copies"):
        problem = _problem(train=np.tile(_images(2), (6, 1, 1, 1)))
    assert [len(part) for part in problem.split(0)] == [1, 1]
    with pytest.raises(InputError, match="1 train left; give at least 2 different ones"):
        _problem(train=np.tile(_images(1), (6, 1, 1, 1)))


# Copies among the normals


def test_copies_of_normals_count_once_and_are_said():
    base = _problem(12)
    with pytest.warns(UserWarning) as caught:
        problem = _problem(train=np.repeat(_images(12), 4, axis=0))
    (said,) = (str(one.message) for one in caught)
    assert said.startswith("36 of 48 train normals are copies of others, exact or nearly: row ")
    assert said.endswith(" and 31 more; copies count once: 12 train left")
    assert problem.copies == (36, 0, 0) and "copies_left_out=36" in repr(problem)
    assert problem.fingerprint == base.fingerprint  # the same trainings
    np.testing.assert_array_equal(problem.folds, base.folds)
    assert base.copies == (0, 0, 0) and "copies" not in repr(base)
    rows = problem.rows_of(np.repeat(_images(12), 4, axis=0))
    np.testing.assert_array_equal(problem.train[rows], np.repeat(_images(12), 4, axis=0))


def test_copies_in_two_groups_stand_on_one_side():
    train = np.concatenate([_images(12), _images(12)[:3]])
    groups = [*range(12), 20, 20, 21]  # all of both groups are copies
    with pytest.warns(UserWarning, match="3 of 15 train normals"):
        problem = _problem(train=train, groups=groups)
    assert sorted(problem.groups) == list(range(12))
    assert len(set(content_hashes(problem.train))) == 12


def test_copies_in_the_target_stay():
    problem = _problem(target=np.tile(_images(2, 1), (3, 1, 1, 1)))
    assert len(problem.target) == 6


def test_rows_have_exact_copies_only():
    rows = np.random.default_rng(0).random((10, 3))
    with pytest.warns(UserWarning, match="2 of 22 train normals"):
        problem = Problem(train=np.concatenate([rows, rows[:2], rows + 1e-6]), target=rows)
    assert len(problem.train) == 20


def test_held_out_copies_of_train_are_left_out_by_name():
    held_out = np.concatenate([_images(4, 9), _images(12)[5:8], _images(4, 9)[:1]])
    with pytest.warns(UserWarning) as caught:
        problem = _problem(12, held_out=held_out)
    (said,) = (str(one.message) for one in caught)
    assert (
        "3 of 8 held_out normals are copies of train normals, exact or nearly: row 4, row 5" in said
    )
    assert "1 of 8 held_out normals are copies of others, exact or nearly: row" in said
    assert said.endswith("copies count once: 12 train, 4 held_out left")
    assert problem.copies == (0, 1, 3)
    assert problem.fingerprint == _problem(12, held_out=_images(4, 9)).fingerprint


def test_held_out_normals_that_are_all_trained_on_are_refused():
    with pytest.raises(InputError, match="12 of 12 held_out normals are copies of train normals"):
        _problem(12, held_out=_images(12))


def _saved_as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image[:, :, 0]).save(file, "jpeg", quality=quality)
    return np.asarray(Image.open(file))[..., None]


def _parts(n: int, seed: int = 0) -> np.ndarray:
    """Photographs `[n, 48, 48, 1]` of like parts: one strong shape, and a little of their own."""
    own = np.random.default_rng(seed).normal(size=(n, 12, 12)).repeat(4, 1).repeat(4, 2)
    ring = 60 * np.sin(np.hypot(*np.mgrid[-24:24, -24:24]) / 4)
    return np.clip(120 + ring + 4 * own, 0, 255).astype(np.uint8)[..., None]


def test_frames_that_were_saved_again_are_copies():
    images = _parts(16)
    again = np.stack([_saved_as_jpeg(x, 90) for x in images[:10]])
    assert (again != images[:10]).any((1, 2, 3)).all()
    with pytest.warns(UserWarning, match="10 of 26 train normals"):
        problem = Problem(train=np.concatenate([images, again]), target=images[:1])
    assert problem.copies == (10, 0, 0)
    rows = problem.rows_of(np.concatenate([images, again]))
    np.testing.assert_array_equal(rows[:10], rows[16:])
    assert len(set(rows[:16])) == 16
    with pytest.warns(UserWarning, match="10 of 10 held_out normals|10 of 14 held_out normals"):
        held_out = np.concatenate([again, _parts(4, 1)])
        assert len(Problem(train=images, held_out=held_out, target=images[:1]).held_out) == 4


def test_like_parts_and_featureless_ones_are_no_copies():
    rng = np.random.default_rng(0)
    alike = np.clip(_parts(1) + rng.integers(0, 2, (60, 48, 48, 1)), 0, 255).astype(np.uint8)
    plain = rng.integers(99, 102, (60, 48, 48, 1)).astype(np.uint8)
    shades = np.full((30, 48, 48, 1), 100, np.uint8)  # of one step each, and nothing beside
    shades += np.arange(30, dtype=np.uint8)[:, None, None, None]
    for images in (alike, plain, shades):
        small = images.astype(float).reshape(len(images), 16, 3, 16, 3).mean((2, 4)) / 255
        near = np.abs(small[:, None] - small).mean((2, 3)) <= 1 / 255
        assert near.sum() > len(images)  # by their mean difference alone they would be
        assert Problem(train=images, target=images[:1]).copies == (0, 0, 0)


@pytest.mark.parametrize("chunk", [7, 4096])
def test_copies_agree_with_a_slow_twin_and_follow_no_chain(chunk, monkeypatch):
    monkeypatch.setattr(duplicates, "_CHUNK", chunk)
    rng = np.random.default_rng(0)
    images = _parts(40).astype(np.float32) / 255
    steps = [images[:12] + np.float32(k * 0.6 / 255) for k in (1, 2, 3)]  # each near the next alone
    images = np.clip(np.concatenate([images, *steps]), 0, 1)[rng.permutation(76)]
    small = images.reshape(len(images), -1)
    # 48 -> 32 px by area: of every 3 pixels the outer two and halves of the middle one
    thirds = np.array([[2, 1, 0], [0, 1, 2]]) / 3
    weights = np.kron(np.eye(16), thirds)
    small = (weights @ images[..., 0].astype(float) @ weights.T).reshape(len(images), -1)
    level = small - small.mean(1, keepdims=True)
    apart = np.sqrt(((level - level.mean(0)) ** 2).sum(1))
    kept: list[int] = []
    expected = []
    for i, one in enumerate(small):
        originals = [
            j
            for j in kept
            if np.abs(one - small[j]).mean() <= 1 / 255
            and np.sqrt(((level[i] - level[j]) ** 2).sum()) < 0.25 * min(apart[i], apart[j])
        ]
        expected.append(originals[0] if originals else i)
        kept += [] if originals else [i]
    found = find_copies(content_hashes(images), images)
    np.testing.assert_array_equal(found, expected)
    assert 12 < len(kept) - 28 < 48  # some of a chain are copies, and not all of one


def test_copies_are_sought_in_bounded_memory():
    images = np.random.default_rng(0).integers(0, 256, (4000, 8, 8, 1), np.uint8)
    tracemalloc.start()
    find_copies(content_hashes(images), images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000**2  # all pairs at once would be four bytes each


def test_frames_of_a_scene_that_stands_still_are_sought_in_bounded_memory(monkeypatch):
    """Nearly all pairs are alike: numbers of them would not fit for a day of a camera."""
    monkeypatch.setattr(duplicates, "_CHUNK", 128)
    monkeypatch.setattr(duplicates, "_ROWS", 32)
    generator = np.random.default_rng(0)
    scenes = generator.integers(10, 240, (2, 8, 8, 1)).repeat(1000, axis=0)
    images = (scenes + (generator.random(scenes.shape) < 0.2)).astype(np.uint8)
    tracemalloc.start()
    found = find_copies([str(i) for i in range(2000)], images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, np.repeat([0, 1000], 1000))
    assert peak < 2000**2  # a pair takes 16 bytes, and half a million are alike


# Duplicates


def test_duplicates_agree_with_a_slow_twin():
    rng = np.random.default_rng(0)
    base = rng.integers(20, 230, (30, 32, 32, 3)).astype(np.uint8)
    noisy = (base[:5] + rng.integers(-1, 2, base[:5].shape)).astype(np.uint8)
    brighter = base[5:8] + np.uint8(3)
    target = np.concatenate([base[10:13], noisy, brighter, base[25:27]])
    problem = Problem(train=base[:20], held_out=base[20:], target=target)
    found = problem.duplicates()

    normals = np.concatenate([problem.train, problem.held_out])
    exact, near = [], []
    for i, normal in enumerate(normals):
        for t, sample in enumerate(problem.target):
            small = [
                x.mean(axis=2).reshape(16, 2, 16, 2).mean(axis=(1, 3)) / 255
                for x in (normal, sample)
            ]
            if (normal == sample).all():
                exact.append((i, t))
            elif np.abs(small[0] - small[1]).mean() <= 1 / 255:
                near.append((i, t))
    assert found.exact == exact
    assert found.near == near
    assert (len(exact), len(near)) == (5, 5)
    assert len(problem.duplicates(near=4 / 255).near) == 8


@pytest.mark.parametrize("side", [12, 32, 40])
@pytest.mark.parametrize("white", [1, 255])
def test_pictures_one_step_brighter_are_near_whatever_the_rounding(side, white):
    images = np.random.default_rng(0).integers(0, 250, (30, side, side, 1), np.uint8)
    brighter = images + np.uint8(1)
    if white == 1:
        images, brighter = images / 255, brighter / 255
    near = Problem(train=images, target=brighter).duplicates().near
    assert len({row for row, _ in near}) == 30
    copies = find_copies([str(i) for i in range(60)], np.concatenate([images, brighter]))
    np.testing.assert_array_equal(copies, np.tile(np.arange(30), 2))


def test_duplicates_are_found_once(monkeypatch):
    problem = _problem()
    found, nearer = problem.duplicates(), problem.duplicates(near=0.5)
    monkeypatch.setattr("ad_jax.data.problem.find_duplicates", lambda *a: pytest.fail("again"))
    assert problem.duplicates() is found
    assert problem.duplicates(near=0.5) is nearer
    assert pickle.loads(pickle.dumps(problem)).duplicates() == found


def test_duplicates_of_rows_are_exact_only():
    rows = np.random.rand(10, 3)
    problem = Problem(train=rows, target=np.concatenate([rows[:2], rows[:2] + 1e-6]))
    found = problem.duplicates()
    assert (len(found.exact), found.near) == (2, [])


# Resizing


@pytest.mark.parametrize(("size", "new"), [(6, 3), (7, 3), (28, 20), (5, 5), (9, 1)])
def test_reducing_averages_areas(size, new):
    line = np.random.default_rng(0).random(size)
    images = np.broadcast_to(line[None, :, None, None], (1, size, size, 1))
    fine = np.repeat(line, new)  # every old pixel in `new` parts, every new pixel `size` of them
    expected = fine.reshape(new, size).mean(axis=1)
    out = resize(images.astype(np.float32), new, new)
    np.testing.assert_allclose(out[0, :, 0, 0], expected, atol=1e-6)
    assert out.dtype == np.float32


def test_enlarging_interpolates():
    images = np.array([0, 100, 50], np.uint8).reshape(1, 1, 3, 1)
    out = resize(images, 1, 6)[0, 0, :, 0]
    np.testing.assert_array_equal(out, [0, 25, 75, 88, 63, 50])  # 87.5 and 62.5 rounded up
    assert out.dtype == np.uint8


def test_resize_keeps_channels_apart():
    images = _images(3, shape=(6, 8, 3))
    whole = resize(images, 4, 3)
    for c in range(3):
        np.testing.assert_array_equal(whole[..., c : c + 1], resize(images[..., c : c + 1], 4, 3))
    one = float(Fraction(sum(images[0, :2, :, 0].ravel().tolist()), 16))
    assert resize(images, 3, 1)[0, 0, 0, 0] == int(np.floor(one + 0.5))


def test_masks_do_not_vanish():
    coverage = np.zeros((4, 4))
    assert mask_of(coverage).sum() == 0
    coverage[0, 0], coverage[1, 1] = 0.1, 0.2
    assert mask_of(coverage).tolist()[1] == [0, 1, 0, 0]
    assert mask_of(coverage).sum() == 1
    coverage[2, :3] = 0.5, 1, 0.49
    assert mask_of(coverage).sum() == 2


# Truth


def _labels(n: int = 3) -> Labels:
    return Labels(np.arange(n) % 2, ["", "crack", ""][:n])


def test_truth_is_read_once_and_logs_every_opening():
    calls = []
    truth = Truth(["a", "b", "c"], lambda: calls.append(1) or _labels())
    assert (truth.names, truth.log, calls) == (["a", "b", "c"], [], [])
    first = truth.open("audit of a pick ")
    assert truth.open("again").kinds == first.kinds == ["", "crack", ""]
    assert first.anomalous.dtype == np.uint8
    assert calls == [1]
    assert [reason for _, reason in truth.log] == ["audit of a pick", "again"]
    assert truth.log[0][0].endswith("+00:00")


@pytest.mark.parametrize("reason", ["", "  ", None, 3])
def test_truth_needs_a_reason(reason):
    truth = Truth(["a"], lambda: pytest.fail("read"))
    with pytest.raises(InputError, match="reason"):
        truth.open(reason)
    assert truth.log == []


def test_truth_shows_nothing():
    truth = Truth(["a", "b", "c"], _labels)
    truth.open("test")
    assert "crack" not in repr(truth)
    assert repr(truth) == "Truth(3 samples, opened 1 times)"


@pytest.mark.parametrize("labels", [_labels(2), Labels(np.array([0, 1, 2]), [""] * 3)])
def test_labels_that_do_not_fit(labels):
    with pytest.raises(InputError, match="labels"):
        Truth(["a", "b", "c"], lambda: labels).open("test")


def test_unlabelled_truth_says_how_to_give_labels():
    truth = Truth(["a"], unlabelled("photos"))
    with pytest.raises(InputError, match="photos has no labels; give --labels FILE"):
        truth.open("test")
    assert truth.log == []


def test_sealed_truth_follows_the_target():
    target = np.concatenate([_images(8, 1), _images(8, 1)[:2]])
    names = [f"n{i}" for i in range(10)]

    def read() -> Labels:
        return Labels(
            (np.arange(10) % 3 == 0).astype(np.uint8),
            [str(i) for i in range(10)],
            lambda row: np.full((1, 1), row),
        )

    order = np.random.default_rng(0).permutation(10)

    def read_permuted() -> Labels:
        labels = read()
        return Labels(
            labels.anomalous[order],
            [labels.kinds[i] for i in order],
            lambda row: labels.masks(order[row]),
        )

    problem, truth = sealed(train=_images(9), target=target, names=names, read=read)
    again, permuted = sealed(
        train=_images(9),
        target=target[order],
        names=[names[i] for i in order],
        read=read_permuted,
    )
    np.testing.assert_array_equal(problem.target, again.target)
    assert truth.names == permuted.names
    labels, other = truth.open("test"), permuted.open("test")
    for row, name in enumerate(truth.names):
        i = int(name[1:])
        np.testing.assert_array_equal(problem.target[row], target[i])
        assert labels.kinds[row] == other.kinds[row] == str(i)
        assert labels.anomalous[row] == other.anomalous[row] == (i % 3 == 0)
        assert labels.masks(row) == other.masks(row) == i


def test_limit_takes_the_first_by_content():
    arrays = {"train": _images(20), "target": _images(9, 1), "held_out": _images(9, 2)}
    names = [str(i) for i in range(9)]
    full, _ = sealed(**arrays, names=names, read=_labels)
    some, truth = sealed(**arrays, names=names, read=_labels, limit=4, groups=list(range(20)))
    np.testing.assert_array_equal(some.train, full.train[:4])
    np.testing.assert_array_equal(some.target, full.target[:4])
    np.testing.assert_array_equal(some.held_out, full.held_out[:4])
    assert len(truth) == len(some.groups) == 4
