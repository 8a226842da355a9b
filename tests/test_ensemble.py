"""The ensemble of a pool: its scores, its weights, its files."""

import json
from dataclasses import replace

import jax
import jax.export
import numpy as np
import pytest
from PIL import Image

import ad_jax
from ad_jax import Config, Pool, cli, setting
from ad_jax.base import ranks
from ad_jax.base.errors import InputError
from ad_jax.detect import Networks
from ad_jax.detect.detector import FittedDetector
from ad_jax.detect.ensemble import JSON, Ensemble
from ad_jax.detect.state import Loading, Localised
from ad_jax.pool import Member, View
from ad_jax.report import heatmaps as pictures
from ad_jax.runs import run as runs
from ad_jax.selection import weights as weighing

CONFIG = Config(steps=6, width=8, most_loss=9.0, least_auroc=0.0)
SETTINGS = [
    setting("binary", "cutpaste", area=0.1),
    setting("binary", "cutpaste", area=0.3),
    setting("binary", "scar"),
    setting("prediction", "vertical_flip"),
]


@pytest.fixture(scope="module")
def problem():
    generator = np.random.default_rng(0)
    normal = generator.integers(100, 130, (40, 16, 16, 1)).astype(np.uint8)
    strange = normal[24:].copy()
    strange[:5, 4:10, 4:10] = 250
    return ad_jax.Problem(train=normal[:24], target=strange)


@pytest.fixture(scope="module")
def selection(problem):
    return ad_jax.select(problem, SETTINGS, seeds=(0, 1, 2, 3), config=CONFIG)


def test_scores_are_the_weighted_mean_of_the_settings_surprises(selection, problem):
    pool, ensemble = selection.pool, selection.ensemble
    expected = 0.0
    for one in SETTINGS:
        rows = pool.rows(one)
        own, held_out = (scores[rows] for scores in pool.own_scores())
        each = [np.asarray(ranks.surprise(h, s)) for h, s in zip(held_out, own, strict=True)]
        expected = expected + selection.weights[one.key] * np.mean(each, axis=0)
    found = ensemble.decision_function(problem.target)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
    assert sum(w for _, w in ensemble.weights_) == pytest.approx(1.0)
    assert {s.key: pytest.approx(w) for s, w in ensemble.weights_} == selection.weights


def test_held_out_normals_are_scored_by_those_that_did_not_see_them(selection, problem):
    """By hand: per fold the weighted mean over the settings' seeds of that fold."""
    state = selection.ensemble.state_
    inside = selection.ensemble.networks.surprise(state.arrays["held_out"])
    weights = np.array(state.weights)
    counted = selection.ensemble.calibration_.scores
    assert len(counted) == len(problem.train)
    for fold in set(state.folds):
        rows = [i for i, other in enumerate(state.folds) if other == fold]
        least = (weights[rows, None] * inside[rows]).sum(0) / weights[rows].sum()
        own = selection.ensemble._by_fold[fold]
        assert (own >= least - 1e-5).all()  # never less than a new sample would
    p = selection.ensemble.p_values(problem.target)
    assert (p >= 1 / 25).all() and (p <= 1).all()


def test_proven_p_values_do_not_hang_on_the_weights(selection, problem):
    """So a target that moves the weights takes nothing from what is proven of them."""
    members = list(selection.ensemble.members().values())
    skewed = {one.key: 10.0**-i for i, one in enumerate(SETTINGS)}
    other = Ensemble.of_members(problem, members, skewed, CONFIG)
    raw = selection.ensemble.networks.raw(problem.target)
    np.testing.assert_array_equal(other.networks.raw(problem.target), raw)
    assert not np.allclose(other.combine(raw), selection.ensemble.combine(raw))
    by_hand = [
        2.0 * np.mean([(1 + (h >= s).sum()) / (len(h) + 1) for h, s in zip(held_out, own)])
        for held_out, own in zip(
            [selection.ensemble.state_.arrays["held_out"]] * raw.shape[1], raw.T, strict=True
        )
    ]
    for one in (other, selection.ensemble):
        found = one.calibration_.proven(raw)
        np.testing.assert_allclose(found, np.minimum(by_hand, 1.0), rtol=1e-6)


def test_saved_and_loaded_scores_are_the_same(selection, problem, tmp_path):
    selection.ensemble.save(tmp_path / "e")
    again = Ensemble.load(tmp_path / "e")
    np.testing.assert_array_equal(
        again.decision_function(problem.target),
        selection.ensemble.decision_function(problem.target),
    )
    assert again.weights_ == selection.ensemble.weights_ and again.alpha == 0.05
    about = json.loads((tmp_path / "e" / JSON).read_bytes())
    (tmp_path / "e" / JSON).write_text(json.dumps({**about, "weights": about["weights"][1:]}))
    with pytest.raises(InputError, match="damaged"):
        Ensemble.load(tmp_path / "e")
    with pytest.raises(InputError, match="no readable ensemble"):
        Ensemble.load(tmp_path)


def test_the_detector_of_the_pick_stays(selection, problem):
    members = selection.ensemble.members()[selection.pick.key]
    trained = (members.trained, members.held_out, CONFIG, members.seeds)
    again = FittedDetector.of(problem, selection.pick, *trained)
    np.testing.assert_array_equal(
        again.decision_function(problem.target),
        selection.detector.decision_function(problem.target),
    )


# ---- heatmaps ----


def alone(selection, problem, one):
    """The detector of one setting of the ensemble."""
    members = selection.ensemble.members()[one.key]
    trained = (members.trained, members.held_out, selection.ensemble.config, members.seeds)
    return FittedDetector.of(problem, one, *trained)


@pytest.fixture(scope="module")
def drawn(selection, problem):
    """An ensemble with a localiser, and the detectors of its settings with theirs."""
    ensemble = Ensemble(selection.ensemble.networks).fit_localiser(problem, "texture")
    singles = {s.key: alone(selection, problem, s) for s in SETTINGS}
    return ensemble, {key: one.fit_localiser(problem, "texture") for key, one in singles.items()}


def test_heatmaps_are_the_weighted_mean_of_the_settings_heatmaps(drawn, problem):
    ensemble, singles = drawn
    expected = sum(
        ensemble.shares()[key] * singles[key].heatmaps(problem.target) for key in singles
    )
    found = ensemble.heatmaps(problem.target)
    assert found.shape == (16, 16, 16) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-3)
    np.testing.assert_allclose(ensemble.heatmaps(problem.target[7:]), found[7:], atol=1e-4)
    squares = (problem.target == 250).all(-1)
    assert found[squares].mean() > found[~squares].mean() + 0.5


def test_the_alarm_counts_held_out_images_by_the_joined_heatmap(drawn, problem):
    """By hand: every image by the seeds that held it out, each by its setting's weight."""
    ensemble, singles = drawn
    maxima = []
    for fold in range(4):  # one seed each
        held_out, joined = problem.split(fold).held_out, 0.0
        for key, one in singles.items():
            state = one.state_
            arrays = {name: array[[fold]] for name, array in state.arrays.items()}
            fitted = jax.tree.map(lambda leaf, at=fold: leaf[[at]], state.localised.fitted)
            seed = FittedDetector(
                Networks(
                    state._replace(
                        arrays=arrays,
                        seeds=(fold,),
                        folds=(fold,),
                        localised=Localised("texture", fitted),
                    )
                )
            )
            joined = joined + ensemble.shares()[key] * seed.heatmaps(held_out)
        maxima += joined.max((1, 2)).tolist()
    assert len(maxima) == 24
    np.testing.assert_allclose(np.sort(ensemble.state_.highest), np.sort(maxima), atol=5e-3)
    # Of 24 images: ceil(25 * .9) = 23rd, and 5 % takes 19 images: ceil(25 * .95) = 24th.
    assert ensemble.heatmap_alarm(0.1) == pytest.approx(np.sort(maxima)[22], abs=5e-3)
    assert ensemble.heatmap_alarm(0.05) == pytest.approx(max(maxima), abs=5e-3)
    assert ensemble.heatmap_alarm(0.01) == np.inf


def test_saved_and_loaded_heatmaps_are_the_same(drawn, selection, problem, tmp_path):
    ensemble, _ = drawn
    ensemble.save(tmp_path / "e")
    again = Ensemble.load(tmp_path / "e")
    np.testing.assert_array_equal(again.heatmaps(problem.target), ensemble.heatmaps(problem.target))
    assert again.heatmap_alarm(0.1) == ensemble.heatmap_alarm(0.1)
    about = json.loads((tmp_path / "e" / JSON).read_bytes())
    del about["highest"]  # one of before
    (tmp_path / "e" / JSON).write_text(json.dumps(about))
    selection.ensemble.save(tmp_path / "e")
    without = Ensemble.load(tmp_path / "e")
    with pytest.raises(InputError, match="no localiser"):
        without.heatmaps(problem.target)


def test_the_heaviest_settings_are_drawn_where_there_is_no_room_for_all(
    selection, problem, drawn, monkeypatch
):
    monkeypatch.setattr("ad_jax.detect.ensemble.ROOM", 1)
    few = Ensemble(selection.ensemble.networks).fit_localiser(problem, "texture")
    heaviest = few.setting_
    parts = [part.localised for part in few.state_.parts]
    assert sum(len(one.fitted.scale.maxima) for one in parts if one is not None) == 4
    expected = drawn[1][heaviest.key].heatmaps(problem.target)
    np.testing.assert_allclose(few.heatmaps(problem.target), expected, atol=2e-3)


def test_other_normals_and_unknown_methods_are_refused(selection, problem):
    other = Ensemble(selection.ensemble.networks)
    with pytest.raises(InputError, match="not the normals"):
        other.fit_localiser(problem.train[::-1] // 2, "texture")
    with pytest.raises(InputError, match="known: position"):
        other.fit_localiser(problem, 3)
    with pytest.raises(InputError, match="'head' is of heads"):
        other.fit_localiser(problem, "head")
    assert other.state_.localised is None


# ---- export ----


def test_an_exported_ensemble_scores_like_it(selection, problem, tmp_path):
    ensemble = selection.ensemble
    ensemble.export(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as file:
        program = jax.export.deserialize(bytearray(file["program"]))
        about, held_out, threshold = (file[name] for name in ("about", "held_out", "threshold"))
    assert program.platforms == ("cpu", "cuda", "tpu")
    for count in (1, 16):
        expected = ensemble.decision_function(problem.target[:count])
        np.testing.assert_allclose(
            program.call(problem.target[:count]), expected, rtol=1e-4, atol=1e-4
        )
    np.testing.assert_array_equal(held_out, ensemble.calibration_.scores)
    assert threshold == np.float32(ensemble.threshold_)
    weights = dict(json.loads(str(about))["settings"])
    assert weights == pytest.approx({one.label: weight for one, weight in ensemble.weights_})


# ---- the commands ----


@pytest.fixture(scope="module")
def run(drawn, selection, tmp_path_factory):
    """A run whose ensemble has a localiser, whose pick has none, and two pictures."""
    folder = tmp_path_factory.mktemp("run")
    for one, name in ((selection.detector, "detector"), (drawn[0], "ensemble")):
        made = type(one)(one.networks, 0.2, Loading("stretch"))
        made.state_ = one.state_
        made.save(folder / "run" / name)
    (folder / "new").mkdir()
    for name, image in zip(("a.png", "b.png"), new_images(), strict=True):
        Image.fromarray(image[..., 0]).save(folder / "new" / name)
    return folder


def new_images():
    generator = np.random.default_rng(5)
    found = generator.integers(100, 130, (2, 16, 16, 1)).astype(np.uint8)
    found[0, 2:8, 8:14] = 250
    return found


def test_score_draws_the_heatmaps_of_the_ensemble(run, drawn, capsys):
    ensemble = drawn[0]
    scoring = ["score", str(run / "run"), str(run / "new"), "--alpha", "0.2"]
    assert cli.main([*scoring, "--heatmaps", str(run / "maps"), "--json"]) == 0
    told = capsys.readouterr()
    assert "by the ensemble of 4 settings" in told.err
    scores = [json.loads(line)["score"] for line in told.out.splitlines()]
    np.testing.assert_allclose(scores, ensemble.decision_function(new_images()), atol=1e-5)
    assert f"reach {ensemble.heatmap_alarm(0.2):.1f} somewhere" in told.err
    top = pictures.top_of(ensemble.heatmap_ends().tolist())
    heat = ensemble.heatmaps(new_images())
    for name, image, one in zip(("a.png", "b.png"), new_images(), heat, strict=True):
        with Image.open(run / "maps" / f"{name}.png") as written:
            found = np.asarray(written.convert("RGB"), float)
        expected = np.asarray(pictures.overlay(image, one, top).convert("RGB"), float)
        np.testing.assert_allclose(found, expected, atol=2)
    assert cli.main([*scoring, "--pick", "--heatmaps", str(run / "other")]) == 2
    assert "no localiser" in capsys.readouterr().err


def test_export_writes_the_ensemble_or_the_pick(run, drawn, selection, capsys):
    for rest, one in (([], drawn[0]), (["--pick"], selection.detector)):
        file = run / f"e{len(rest)}.npz"
        assert cli.main(["export", str(run / "run"), str(file), *rest]) == 0
        with np.load(file) as content:
            program = jax.export.deserialize(bytearray(content["program"]))
        expected = one.decision_function(new_images())
        np.testing.assert_allclose(program.call(new_images()), expected, atol=1e-4)


# ---- weights ----


def pool_of(anomalies: int, good: float = 2.0, seed: int = 0) -> Pool:
    """Six settings of three families; one sees what is anomalous, the others see noise."""
    generator = np.random.default_rng(seed)
    target, held_out = generator.normal(size=(6, 100)), generator.normal(size=(6, 60))
    target[0, :anomalies] += good
    names = [{"name": n, "k": float(k)} for n in "abc" for k in (1, 2)]
    return Pool.from_scores(target, names, held_out)


def test_every_family_weighs_the_same_before():
    generator = np.random.default_rng(0)
    names = [{"name": "a", "k": 1.0}, {"name": "a", "k": 2.0}, {"name": "b", "k": 1.0}]
    pool = Pool.from_scores(generator.normal(size=(3, 20)), names, generator.normal(size=(3, 9)))
    assert list(weighing.prior(pool).values()) == [0.25, 0.25, 0.5]


def test_without_evidence_the_weights_are_the_prior():
    """To the bit where no setting sees more than one standard error, near it else."""
    pools = [pool_of(0, seed=seed) for seed in range(20)]
    early = weighing.Constants(closed=1.0, open=4.0)
    for constants in (early, weighing.CONSTANTS):
        found = [weighing.weights(pool, constants=constants) for pool in pools]
        stood = [own == weighing.prior(pool) for own, pool in zip(found, pools, strict=True)]
        seen = [weighing.evidence(pool).strongest for pool in pools]
        assert stood == [strongest <= constants.closed for strongest in seen]
        assert np.median([max(own.values()) for own in found]) < 1.6 / 6
        assert 3 <= sum(stood) <= (17 if constants == early else 20)


def test_evidence_moves_weight_to_what_sees_the_anomalies():
    found = weighing.evidence(pool_of(40))
    ahead = found.leads(weighing.prior(pool_of(40)))
    assert found.strongest > 4
    best = max(ahead, key=ahead.__getitem__)
    assert '"k": 1.0' in best and '"a"' in best and ahead[best] > 3
    weights = weighing.weights(pool_of(40))
    assert weights[best] > 1.5 / 6 and sum(weights.values()) == pytest.approx(1.0)
    assert weighing.weights(pool_of(40)) == weights  # bootstrap and permutations have a seed


def pool_of_groups(apart: float, seed: int = 0) -> Pool:
    """Six settings that see groups of 6 normals `apart` from each other, and a target of others."""
    generator = np.random.default_rng(seed)
    number = np.repeat(np.arange(20), 6)
    moved = apart * generator.normal(size=(6, 20))[:, number] + generator.normal(size=(6, 120))
    names = [{"name": n, "k": float(k)} for n in "abc" for k in (1, 2)]
    pool = Pool.from_scores(moved[:, 60:], names, moved[:, :60])
    return replace(pool, groups=np.tile(number[:60], (6, 1)))


def test_what_differs_from_group_to_group_is_no_evidence():
    """A target of other groups, without an anomaly: the gate stays shut more often."""
    pools = [pool_of_groups(1.0, seed) for seed in range(20)]
    blind = [replace(pool, groups=None) for pool in pools]
    knowing, unknowing = ([weighing.evidence(p).strongest for p in some] for some in (pools, blind))
    assert np.mean(knowing) < np.mean(unknowing) - 0.5
    assert sum(z > 2 for z in knowing) < sum(z > 2 for z in unknowing) - 3
    alike = [pool_of_groups(0.0, seed) for seed in range(20)]
    gained = [
        weighing.evidence(p).strongest - weighing.evidence(replace(p, groups=None)).strongest
        for p in alike
    ]
    assert np.mean(np.abs(gained)) < 0.5  # groups that are alike say nothing


def test_a_pool_knows_the_groups_of_its_held_out_normals(problem, tmp_path):
    """By contents, through the files of a run, too."""
    names = np.repeat(np.arange(12), 2)
    grouped = ad_jax.Problem(train=problem.train, target=problem.target, groups=names)
    config = CONFIG._replace(steps=1)
    chosen = ad_jax.select(grouped, SETTINGS[:2], seeds=(0, 1), config=config)
    groups = chosen.pool.groups
    assert len(groups) == len(chosen.pool.members)
    of_seed = {m.seed: set(row) for m, row in zip(chosen.pool.members, groups, strict=True)}
    assert not of_seed[0] & of_seed[1]
    held_out = grouped.split(1).held_out
    original = [names[(problem.train == one).all((1, 2, 3)).argmax()] for one in held_out]
    row = next(row for m, row in zip(chosen.pool.members, groups, strict=True) if m.seed == 1)
    assert (np.equal.outer(row, row) == np.equal.outer(original, original)).all()
    source = runs.Source("test", {}, tuple(map(str, range(len(problem.target)))))
    runs.write(tmp_path / "run", chosen, grouped, source, config, (0, 1))
    np.testing.assert_array_equal(runs.read(tmp_path / "run").pool.groups, groups)


def test_few_groups_and_members_of_other_seeds_keep_their_own():
    pool = pool_of_groups(1.0)
    three = replace(pool, groups=pool.groups // 4)
    plain = weighing.evidence(replace(pool, groups=None))
    np.testing.assert_array_equal(weighing.evidence(three).drawn, plain.drawn)
    some = pool.take(np.arange(10), np.array([59, 0, 0]))
    assert some.groups.tolist() == 6 * [[9, 0, 0]]


def pool_with_default(anomalies: int, good: tuple[float, ...], seed: int = 0) -> Pool:
    """Two areas around the default's and two settings of other families, by what each sees."""
    settings = [
        *(setting("binary", "cutpaste", area=area) for area in (0.01, 0.04)),
        setting("binary", "scar"),
        setting("binary", "cutout"),
    ]
    generator = np.random.default_rng(seed)
    target, held_out = generator.normal(size=(4, 100)), generator.normal(size=(4, 60))
    target[:, :anomalies] += np.array(good)[:, None]
    members = tuple(Member(one, 0, "ok", 0.1, 0.9, 1.0) for one in settings)
    views = (View(scores[:, None].astype(np.float32)) for scores in (target, held_out))
    return Pool(members, *views, default_head=np.zeros(4, int))


def test_the_default_has_a_share_of_the_prior_before_the_families():
    """Half for both areas around .02, which are as near to it; a sixth for each family."""
    pool = pool_with_default(0, (0.0, 0.0, 0.0, 0.0))
    expected = [0.25 + 1 / 12, 0.25 + 1 / 12, 1 / 6, 1 / 6]
    np.testing.assert_allclose(list(weighing.prior(pool).values()), expected)
    assert weighing.defaults(pool) == [s.key for s in pool.settings[:2]]
    np.testing.assert_allclose(
        list(weighing.prior(pool, 0.0).values()), [1 / 6, 1 / 6, 1 / 3, 1 / 3]
    )
    assert not weighing.defaults(pool_of(0))  # of another library: families share all


def test_a_safe_pick_leaves_the_default_only_for_a_clear_lead():
    default, _, _, other = pool_with_default(0, (0.0,) * 4).settings
    assert weighing.safe_pick(pool_with_default(40, (0.0, 0.0, 0.0, 3.0))) == other.key
    assert weighing.safe_pick(pool_with_default(40, (2.0, 2.0, 0.0, 2.0))) == default.key
    nothing = [pool_with_default(0, (0.0,) * 4, seed) for seed in range(10)]
    kept = [weighing.safe_pick(pool) == default.key for pool in nothing]
    assert sum(kept) >= 8
    with pytest.raises(InputError, match="no setting of the default's kind"):
        weighing.safe_pick(pool_of(40))


def test_a_target_scores_itself_by_the_weights_of_its_other_half():
    pool = pool_of(40)
    found = weighing.crossed(pool)
    order = np.random.default_rng(0).permutation(100)
    for shown, scored in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        some = weighing.weights(pool.take(np.sort(shown), np.arange(60)))
        np.testing.assert_allclose(
            found[scored], weighing.mean_surprise(pool, some)[scored], rtol=1e-6
        )


def test_a_few_settings_stand_for_all(selection, problem):
    pool = selection.pool
    kept = weighing.keep(pool, selection.weights, 2)
    assert len(kept) == 2 and sum(kept.values()) == pytest.approx(1.0)
    whole = weighing.mean_surprise(pool, selection.weights)

    def far(some):
        return ((weighing.mean_surprise(pool, some) - whole) ** 2).sum()

    alone = {key: far({key: 1.0}) for key in selection.weights}
    assert min(alone, key=alone.__getitem__) == next(iter(kept))
    assert weighing.keep(pool, selection.weights, 9) == pytest.approx(selection.weights)
    ensemble = Ensemble.of_members(
        problem, list(selection.ensemble.members().values()), kept, CONFIG
    )
    assert ensemble.shares() == pytest.approx(kept)
