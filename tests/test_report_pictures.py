"""The pictures at a report's top: who is shown, what is said of it, and where there are none."""

import io
import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image
from small_detector import LARGE, images, make, make_tiled

from ad_jax import augment
from ad_jax.base.errors import InputError
from ad_jax.data import Problem
from ad_jax.detect import tiles
from ad_jax.report import lines, samples
from ad_jax.report.page import Gallery, Prose
from ad_jax.report.parts import pictures
from ad_jax.report.parts.task import Task
from ad_jax.runs import run
from ad_jax.train.setting import Setting

COUNT = 15  # samples of a target


def problem_of(shape, count=40):
    target = images(COUNT, shape, seed=1, high=256)
    return Problem(train=images(count, shape), target=target)


def task_of(folder, scores, name="parts"):
    """A run that holds a detector, and scores of its ensemble."""
    (folder / run.DETECTOR).mkdir(parents=True, exist_ok=True)
    return Task(name, folder, SimpleNamespace(ensemble_scores=np.array(scores, float)))


def galleries(section):
    return {block.name: block for block in section.blocks if isinstance(block, Gallery)}


def opened(picture):
    return Image.open(io.BytesIO(picture.png))


def test_the_highest_and_the_lowest_are_shown_with_their_p_values(tmp_path):
    problem, detector = problem_of((16, 16, 1)), make()
    scores = detector.decision_function(problem.target)
    p_values = detector.p_values(problem.target)
    task = task_of(tmp_path, scores)
    seen = pictures.Seen(problem, problem, detector)
    found = galleries(pictures.pictures([task], lambda one: seen))
    shown = found["The target"].rows
    assert list(shown) == ["most anomalous", "least anomalous"]
    rows = {
        title: [int(re.search(r"row (\d+)$", one.caption)[1]) for one in row]
        for title, row in shown.items()
    }
    order = np.argsort(-scores, kind="stable").tolist()
    assert rows == {"most anomalous": order[:6], "least anomalous": order[-6:]}
    for row in shown.values():
        for one in row:
            i = int(re.search(r"row (\d+)$", one.caption)[1])
            assert one.caption == f"p = {p_values[i]:.2g}, score {scores[i]:.2f}, row {i}"
            assert opened(one).size == (2 * samples.SIDE + samples.GAP, samples.SIDE)
    assert found["The target"].side == 2 * samples.SIDE + samples.GAP
    assert opened(found[""].rows[""][0]).size[0] > pictures.LEGEND  # the colours of the heatmaps
    made = found["Pseudo-anomalies"].rows
    assert list(made) == [f"{detector.setting_.label}: a normal, and what was made of it"]
    for one in next(iter(made.values())):
        left, right = np.split(np.asarray(opened(one))[:, np.r_[:150, 154:304]], 2, axis=1)
        assert (left != right).any() and (left == right).mean() > 0.5  # a patch was pasted


def test_a_small_target_is_cut_in_two(tmp_path):
    problem = problem_of((16, 16, 1))
    problem = Problem(train=problem.train, target=problem.target[:3])
    detector = make()
    order = np.argsort(-detector.decision_function(problem.target)).tolist()
    seen = pictures.Seen(problem, problem, detector)
    shown = galleries(pictures.pictures([task_of(tmp_path, [0, 2, 1])], lambda one: seen))
    rows = [
        [int(one.caption.rsplit(" ", 1)[1]) for one in row]
        for row in shown["The target"].rows.values()
    ]
    assert rows == [order[:2], order[2:]]
    alone = Problem(train=problem.train, target=problem.target[:1])
    seen = pictures.Seen(alone, alone, detector)
    shown = galleries(pictures.pictures([task_of(tmp_path, [0])], lambda one: seen))
    assert list(shown["The target"].rows) == ["most anomalous"]


def test_the_detectors_own_scores_order_what_the_runs_scores_found(tmp_path):
    """A run's scores are by the weights of the other half, so they differ a little."""
    problem, detector = problem_of((16, 16, 1)), make()
    scores = detector.decision_function(problem.target)
    order = np.argsort(-scores, kind="stable")
    swapped = scores[np.argsort(np.argsort(-scores))]  # rough: another order of the same scores
    seen = pictures.Seen(problem, problem, detector)
    task = task_of(tmp_path, swapped)
    shown = galleries(pictures.pictures([task], lambda one: seen))["The target"].rows
    found = [int(one.caption.rsplit(" ", 1)[1]) for one in shown["most anomalous"]]
    assert found == order[:6].tolist()  # 15 samples: all are among those scored anew


def test_images_are_shown_whole_and_what_was_learned_as_tiles(tmp_path):
    problem, detector = problem_of(LARGE, 16), make_tiled()
    learned = tiles.tiled(problem, detector.networks.plan).problem
    seen = pictures.Seen(problem, learned, detector)
    found = galleries(pictures.pictures([task_of(tmp_path, range(COUNT))], lambda one: seen))
    whole, made = (found[name].rows for name in ("The target", "Pseudo-anomalies"))
    across = round(LARGE[1] * samples.SIDE / LARGE[0])
    for title, width in (("most anomalous", across), ("least anomalous", across)):
        assert {opened(one).size for one in whole[title]} == {(2 * width + 4, samples.SIDE)}
    for row in made.values():
        assert {opened(one).size for one in row} == {(2 * samples.SIDE + 4, samples.SIDE)}


class Stub:
    """Scores by the mean; no heatmaps."""

    state_ = SimpleNamespace(localised=None)
    config = SimpleNamespace(backbone="mlp")

    def __init__(self, augmentation):
        self.setting_ = Setting("binary", augmentation, {})

    def decision_function(self, target):
        return target.reshape(len(target), -1).mean(1)

    def p_values_of(self, scores):
        return np.full(len(scores), 0.25)

    def fit_localiser(self, problem, method):
        raise InputError("no positions")


@pytest.mark.parametrize(
    ("shape", "augmentation", "hyper", "made"),
    [
        ((24, 2), "platform", {}, True),
        ((6,), "feature_noise", {"std": 0.8}, True),
        ((24, 2), "feature_noise", {"std": 0.8}, False),  # of windows as rows: nothing to draw
        ((6,), "feature_noise:3", {}, True),
        ((6,), "identity", {}, False),
    ],
)
def test_series_and_rows_are_drawn(tmp_path, shape, augmentation, hyper, made):
    series = len(shape) == 2
    values = np.random.default_rng(0).normal(size=(COUNT, *shape)).astype(np.float32)
    problem = Problem(train=values, target=values[:7] + 1, series=series)
    stub = Stub(augmentation)
    hypers = {**augment.get(augmentation).space.defaults(), **hyper}
    stub.setting_ = stub.setting_._replace(hyper=hypers)
    seen = pictures.Seen(problem, problem, stub)
    found = galleries(pictures.pictures([task_of(tmp_path, range(7))], lambda one: seen))
    assert ("Pseudo-anomalies" in found) == made
    assert "" not in found and found["The target"].side == samples.WIDE
    for block in found.values():
        for row in block.rows.values():
            assert row and all(opened(one).size == (600, 240) for one in row)


def test_images_without_positions_stand_alone(tmp_path):
    problem = problem_of((16, 16, 1))
    seen = pictures.Seen(problem, problem, Stub("identity"))
    found = galleries(pictures.pictures([task_of(tmp_path, range(COUNT))], lambda one: seen))
    assert list(found) == ["The target"]
    for row in found["The target"].rows.values():
        assert {opened(one).size for one in row} == {(samples.SIDE, samples.SIDE)}


def test_where_there_are_no_pictures(tmp_path):
    def gone(task):
        raise InputError("the folder is gone")

    nothing = Task("parts", tmp_path / "bare", SimpleNamespace(ensemble_scores=np.zeros(3)))
    assert pictures.pictures([nothing], gone) is None
    task = task_of(tmp_path, range(3))
    (block,) = pictures.pictures([task], gone).blocks
    assert block == Prose(["No pictures of parts: the folder is gone."])


def test_so_many_tasks_are_shown(tmp_path):
    problem = problem_of((16, 16, 1))
    seen = pictures.Seen(problem, problem, Stub("identity"))
    tasks = [task_of(tmp_path / str(i), range(COUNT), f"task {i}") for i in range(5)]
    section = pictures.pictures(tasks, lambda one: seen)
    assert list(galleries(section)) == [f"The target of task {i}" for i in range(pictures.TASKS)]
    assert section.blocks[-1].lines[0].startswith("Pictures of 3 of 5 tasks")


def test_the_largest_weights_come_first_one_of_every_augmentation():
    from ad_jax.detect.ensemble import Ensemble

    ensemble = object.__new__(Ensemble)
    weighed = [
        (Setting("binary", "scar", {"length": 0.1}), 0.1),
        (Setting("binary", "scar", {"length": 0.2}), 0.2),
        (Setting("control", "raw_nearest_neighbour", {}), 0.3),
        (Setting("neighbour", "identity", {}), 0.25),
        (Setting("binary", "cutpaste", {}), 0.15),
    ]
    ensemble.state_ = SimpleNamespace(by_setting=weighed)
    shown = pictures._learned_from(ensemble)
    assert [(one.augmentation, dict(one.hyper)) for one in shown] == [
        ("scar", {"length": 0.2}),
        ("cutpaste", {}),
    ]


def test_what_cannot_be_drawn_takes_no_place(tmp_path, monkeypatch):
    names = ["feature_noise", "platform", "feature_swap", "trend", "amplitude", "extremum"]
    some = [Setting("binary", name, augment.get(name).space.defaults()) for name in names]
    monkeypatch.setattr(pictures, "_learned_from", lambda detector: some)
    values = np.random.default_rng(0).normal(size=(COUNT, 24, 2)).astype(np.float32)
    problem = Problem(train=values, target=values, series=True)
    seen = pictures.Seen(problem, problem, Stub("platform"))
    section = pictures.pictures([task_of(tmp_path, range(COUNT))], lambda one: seen)
    titles = [title for block in section.blocks for title in block.rows]
    made = [title.split(":")[0].split("/")[1].split()[0] for title in titles[2:]]
    assert made == ["platform", "trend", "amplitude"]
    assert pictures.NO_HEATMAPS in section.blocks[0].note
    assert "feature" not in "".join(titles)


@pytest.mark.parametrize(
    ("name", "shape", "drawn"),
    [
        ("feature_noise+feature_swap", (6,), True),
        ("feature_noise:3", (6,), True),
        ("platform+trend", (24, 2), True),
        ("platform+feature_noise", (24, 2), False),
        ("platform", (6,), False),
    ],
)
def test_mixtures_and_bands_are_drawn_by_their_parts(name, shape, drawn):
    assert lines.draws(name, shape) == drawn
    if drawn:
        entry = augment.get(name)
        sample = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
        make_one = lines.maker(entry, shape)
        made, _ = make_one(jax.random.key(0), entry.space.defaults(), sample[0], sample[1])
        assert made.shape == shape and (made != sample[0]).any()
