"""Heads on frozen features: what they see, train on and are scored by; the whole path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats
from test_features import tiny

import ad_jax
from ad_jax import Config, augment, cli, features, setting
from ad_jax.augment import FEATURES
from ad_jax.base.errors import InputError
from ad_jax.base.numerics import IN_TURN, SIDE_BY_SIDE
from ad_jax.detect import Networks, Tiling, localise, positions, scores, tiles
from ad_jax.detect.detector import FittedDetector
from ad_jax.detect.ensemble import Committee, Ensemble, EnsembleState
from ad_jax.detect.look import make_look, network, pretext_of
from ad_jax.features import encoders
from ad_jax.pool import drawn
from ad_jax.pool.chunks import Chunk, pack_chunk
from ad_jax.pool.drawn import COVERED, Draws, covered
from ad_jax.pool.program import PerMember, Shared, make_program
from ad_jax.pool.sweep import Sweep
from ad_jax.selection.selection import of_images
from ad_jax.store import Record
from ad_jax.train.backbones import Backbone, Cells, Outputs, patch_head, strangest, whole_head
from ad_jax.train.trainer import seed_keys

PLATFORMS = ("cpu", "cuda", "tpu")
CONFIG = Config(steps=6, width=8, backbone="tiny", most_loss=9.0, least_auroc=0.0)
SETTINGS = [
    setting("binary", "feature_noise", std=1.0),
    setting("binary", "cutpaste", area=0.1),
    setting("binary", "scar"),
]
WHOLE = [
    setting("pooled", "feature_noise", std=1.0),
    setting("pooled", "cutpaste", area=0.1),
    setting("prediction", "vertical_flip"),
    setting("prediction", "horizontal_flip"),
    setting("denoising", "feature_noise", std=1.0),
]


def lowers(function, *arguments):
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
    assert exported.platforms == PLATFORMS


@pytest.fixture(scope="module")
def problem():
    generator = np.random.default_rng(0)
    normal = generator.integers(100, 130, (30, 32, 40, 3)).astype(np.uint8)
    strange = normal[20:].copy()
    strange[:5, 8:20, 8:20] = 250
    return ad_jax.Problem(train=normal[:20], target=strange)


@pytest.fixture(scope="module")
def selection(eyes, problem, tmp_path_factory):
    folder = tmp_path_factory.mktemp("record")
    found = ad_jax.select(problem, SETTINGS, seeds=(0, 1), config=CONFIG, record=Record(folder))
    return found, folder


# ---- the head ----


def test_a_head_is_the_mean_of_its_strangest_positions(key):
    head = patch_head((4, 5, 6), 2, 8)
    params = head.init(key)
    grids = jax.random.normal(key, (3, 4, 5, 6))
    out = head.apply(params, grids)
    alone = head.apply(params, head.pieces(grids))  # every position as a sample of its own
    odds = (alone.logits[:, 1] - alone.logits[:, 0]).reshape(3, 20)
    np.testing.assert_allclose(out.logits[:, 1] - out.logits[:, 0], odds.max(1), rtol=1e-5)
    np.testing.assert_allclose(out.stages[0][..., 0].reshape(3, 20), odds, rtol=1e-5, atol=1e-6)
    rows = np.arange(3) * 20 + np.asarray(odds.argmax(1))
    np.testing.assert_allclose(out.embedding, alone.embedding[rows], rtol=1e-5, atol=1e-6)


def test_the_top_share_is_counted():
    odds = jnp.arange(80.0)[None]
    (top,) = strangest(odds, odds[..., None])
    assert float(top[0, 0]) == np.mean([76, 77, 78, 79])  # 5 % of 80


def test_features_enter_in_units_of_the_normals(key):
    head = patch_head((2, 3, 4), 2, 8)
    normals = (5 + 3 * jax.random.normal(key, (50, 2, 3, 4))).astype(jnp.float16)
    params = head.fit(head.init(key), normals)
    seen = np.asarray(head.enter(params, normals)).reshape(-1, 4)
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(seen.std(0), 1, atol=1e-3)


def test_training_leaves_the_units_alone(selection, problem, eyes):
    """Weight decay would shrink them a little in every step."""
    found, _ = selection
    networks = found.detector.networks
    for seed, flat in zip(networks.state.seeds, networks.arrays["params"], strict=True):
        params = networks.unravel(flat)
        grids = features.encode(eyes, problem.split(seed).train).grid.astype(np.float32)
        np.testing.assert_allclose(params["mean"], grids.mean((0, 1, 2)), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(params["spread"], grids.std((0, 1, 2)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape, message", [((9,), "takes grids"), ((2, 2), "takes grids")])
def test_heads_refuse_what_is_no_grid(shape, message):
    with pytest.raises(InputError, match=message):
        patch_head(shape, 2)
    with pytest.raises(InputError, match="nothing to train"):
        patch_head((2, 2, 3), 0)
    with pytest.raises(InputError, match="restores nothing"):
        whole_head((2, 1, 3), 0, decode=True)
    with pytest.raises(InputError, match="embeddings"):
        whole_head((2, 2, 3), 2)


# ---- pseudo-anomalies ----


@pytest.mark.parametrize("name", FEATURES)
def test_entries_of_features_change_them_and_carry_gradients(name, key):
    entry = augment.get(name)
    hyper = {**entry.defaults(), **entry.example}
    sample, donor = jax.random.normal(key, (2, 3, 4, 5))
    found = entry.pseudo(key, hyper, sample, donor)
    assert found.sample.shape == sample.shape and bool((found.mask == 1).all())
    assert float(jnp.abs(found.sample - sample).max()) > 0.01
    for one, bounds in entry.space.items():

        def moved(value, one=one):
            made = entry.pseudo(key, {**hyper, one: value}, sample, donor).sample
            return (made * jnp.cos(jnp.arange(made.size)).reshape(made.shape)).sum()

        slope = jax.grad(moved)(hyper[one])
        assert bool(jnp.isfinite(slope)) and (float(slope) != 0.0) == bounds.gradient


def test_noise_has_the_asked_spread(key):
    entry = augment.get("feature_noise")
    made = entry.pseudo(key, {"std": 0.8}, jnp.zeros((40, 40, 9)), jnp.zeros((40, 40, 9)))
    assert float(made.sample.std()) == pytest.approx(0.8, rel=0.02)


def _made(name, key, hyper, shape=(50, 40, 6)):
    """A pseudo-anomaly of normals of 0 with a donor of 9."""
    return np.asarray(
        augment.get(name).pseudo(key, hyper, jnp.zeros(shape), jnp.full(shape, 9.0))[0]
    )


@pytest.mark.parametrize("name, moved", [("feature_swap", {9.0}), ("feature_shift", {-2.0, 2.0})])
def test_chosen_features_are_as_many_as_asked_and_never_none(name, moved, key):
    step = {"step": 2.0} if name == "feature_shift" else {}
    made = _made(name, key, {"chance": 0.4, **step})
    assert set(np.unique(made).tolist()) == {0.0, *moved}
    none = (1 - 0.4) ** 6  # positions without any, which get one
    mean = 6 * 0.4 + none
    assert (made != 0).mean() == pytest.approx(mean / 6, abs=0.015)
    rare = (_made(name, key, {"chance": 1e-6, **step}) != 0).sum(-1)
    assert (rare == 1).all()
    counts = (made != 0).sum(-1)
    variance = 6 * 0.4 * 0.6 + (6 * 0.4) ** 2 + none - mean**2
    assert counts.var() == pytest.approx(variance, rel=0.1)  # a subset for every position
    if moved == {-2.0, 2.0}:
        assert abs(made.mean()) < 0.03  # as often up as down
        assert not (made[..., 0] * made[..., 1] >= 0).all()  # a sign for every feature


def test_heavy_noise_has_the_asked_spread_and_heavier_tails(key):
    heavy, plain = (
        _made(n, key, {"std": 0.8}, (200, 200, 9)) for n in ("feature_heavy", "feature_noise")
    )
    quartiles = stats.t(3, scale=0.8 / 3**0.5).ppf([0.01, 0.25, 0.75, 0.99])
    np.testing.assert_allclose(np.quantile(heavy, [0.01, 0.25, 0.75, 0.99]), quartiles, rtol=0.03)
    assert (abs(heavy) > 4).mean() > 100 * (abs(plain) > 4).mean()


def test_uniform_features_keep_nothing_of_the_sample(key):
    entry = augment.get("feature_uniform")
    one, other = (
        entry.pseudo(key, {"width": 3.0}, jnp.full((40, 40, 9), v), jnp.zeros((40, 40, 9))).sample
        for v in (0.0, 7.0)
    )
    np.testing.assert_array_equal(one, other)
    assert abs(float(one.min()) + 3) < 0.01 and abs(float(one.max()) - 3) < 0.01
    assert float(one.std()) == pytest.approx(3 / 3**0.5, rel=0.02)


@pytest.mark.parametrize("name", FEATURES)
def test_a_grid_of_strengths_changes_more_and_more(name, key):
    """Of a single position, as a row is."""
    entry = augment.get(name)
    rows = jax.random.normal(key, (2, 400, 1, 1, 5))

    def change(hyper):
        made = jax.vmap(lambda k, s, d: entry.pseudo(k, hyper, s, d).sample)
        moved = made(jax.random.split(key, 400), *rows) - rows[0]
        return float((moved**2).mean())

    changes = [change(hyper) for hyper in entry.strengths(4, (1, 1, 5))]
    if name == "feature_step":  # from down to up
        changes = changes[2:]
    assert changes == sorted(changes) and changes[-1] > 1.2 * changes[0]


def test_a_cell_is_covered_by_its_own_pixels():
    weights = covered(32, Cells(8, 7.0), 4)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_array_equal(np.flatnonzero(weights[0]), np.arange(3, 12))  # 3.5 to 11.5
    assert weights[0, 3] == weights[0, 11] == pytest.approx(weights[0, 7] / 2)


def test_no_held_out_normal_reaches_a_training(eyes, problem):
    """Donors are held out with the samples that they are pasted into."""
    draws = Draws(CONFIG, problem, features.Eyes("tiny"))
    for seed in range(4):
        train, held_out = draws.rows(seed)
        assert set(draws._donors[train]) <= set(range(20)) - set(held_out)
    first, again = (
        Draws(CONFIG, problem, features.Eyes("tiny")).of(SETTINGS[1], 0) for _ in range(2)
    )
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_pieces_are_positions_that_changed(eyes, problem):
    """Where the mask covers a tenth of the cell, features differ from the normal's."""
    draws = Draws(CONFIG, problem, features.Eyes("tiny"))
    whole = draws._draw(SETTINGS[1])
    grids = features.encode(eyes, problem.train).grid
    change = np.abs(np.float32(whole.grids) - np.float32(grids)).mean(-1)
    inside = whole.share > COVERED
    assert 0.05 < inside.mean() < 0.6
    # Deep layers see far beyond a cell, so that others change, too.
    assert change[inside].mean() > 1.2 * change[whole.share == 0].mean()
    one = draws.of(SETTINGS[1], 0)
    known = {row.tobytes() for row in whole.grids[inside]}
    assert {row.tobytes() for row in one.pieces[:, 0, 0]} <= known


def test_image_families_share_one_program(selection):
    found, _ = selection
    assert found.progress.compilations == 2  # features; all that was drawn


# ---- the whole path ----


def test_select_ends_in_a_detector_that_finds_the_square(selection, problem, tmp_path):
    found, _ = selection
    assert {
        m.setting.augmentation for m in found.pool.members if m.setting.pretext == "control"
    } == {
        *("raw_nearest_neighbour", "raw_principal_components"),
        *("patch_nearest_neighbour", "patch_density", "patch_principal_components"),
        "global_nearest_neighbour",
    }
    again = found.detector.decision_function(problem.target)
    found.detector.save(tmp_path / "detector")
    loaded = FittedDetector.load(tmp_path / "detector")
    np.testing.assert_array_equal(loaded.decision_function(problem.target), again)
    rows = found.pool.rows(found.pick, trained=True)
    np.testing.assert_allclose(
        found.detector.networks.raw(problem.target), found.pool.own_scores()[0][rows], rtol=1e-3
    )
    assert found.detector.score == "head"


def test_a_second_run_encodes_and_trains_nothing(selection, problem, monkeypatch):
    from ad_jax.features import grids

    found, folder = selection
    monkeypatch.setattr(grids, "in_blocks", lambda *_: pytest.fail("encoded again"))
    again = ad_jax.select(problem, SETTINGS, seeds=(0, 1), config=CONFIG, record=Record(folder))
    assert again.progress.skipped == again.progress.done == 6
    np.testing.assert_array_equal(again.pool.scores, found.pool.scores)


def test_other_weights_are_other_trainings(selection, problem, monkeypatch):
    found, folder = selection
    other = tiny(1)
    monkeypatch.setitem(encoders.ENCODERS, "tiny", lambda path=None: other)
    encoders.get.cache_clear()
    again = ad_jax.select(problem, SETTINGS[:1], seeds=(0,), config=CONFIG, record=Record(folder))
    encoders.get.cache_clear()
    assert again.progress.skipped == 0


def test_a_detector_is_not_loaded_with_other_weights(eyes, selection, tmp_path, monkeypatch):
    selection[0].detector.save(tmp_path)
    other = tiny(1)
    monkeypatch.setitem(encoders.ENCODERS, "tiny", lambda path=None: other)
    encoders.get.cache_clear()
    both = f"weights {eyes.digest[:12]} of tiny, here they are {other.digest[:12]}; set AD_JAX_"
    with pytest.raises(InputError, match=both):
        FittedDetector.load(tmp_path)
    encoders.get.cache_clear()


def test_controls_equal_slow_twins(eyes, problem):
    grids = np.float32(features.encode(eyes, problem.train).grid)
    mean, spread = grids.mean((0, 1, 2)), grids.std((0, 1, 2))
    bank = ((grids - mean) / spread).reshape(-1, grids.shape[-1])
    sample = np.float32(features.encode(eyes, problem.target).grid)
    expected = []
    for one in ((sample - mean) / spread).reshape(len(sample), -1, grids.shape[-1]):
        nearest = np.sqrt(((one[:, None] - bank) ** 2).sum(-1)).min(1)
        expected.append(np.sort(nearest)[-max(1, round(0.05 * len(nearest))) :].mean())
    score = scores.SCORES["neighbour"]
    fitted = positions.fit(score, jax.random.key(0), jnp.asarray(grids, jnp.float16))
    found = positions.of_images(score, fitted, jnp.asarray(sample, jnp.float16))
    np.testing.assert_allclose(found, expected, rtol=2e-3)


@pytest.mark.parametrize(
    "what, message",
    [
        (
            lambda p: ad_jax.select(p, [setting("prediction", "quarter_turns")], config=CONFIG),
            "quarter_turns needs",
        ),
        (lambda p: ad_jax.tune(p, "cutdiff", config=CONFIG), "cutdiff changes images"),
        (
            lambda p: ad_jax.select(p, SETTINGS[:1], config=CONFIG._replace(backbone="encoder")),
            "feature_noise changes a frozen encoder's features",
        ),
    ],
)
def test_what_is_not_there_yet_is_said(what, message, eyes, problem):
    with pytest.raises(InputError, match=message):
        what(problem)


def middle_of(heat):
    """Row and column in the middle of the hottest tenth of maps `[n, h, w]`."""
    weights = np.clip(heat - np.quantile(heat, 0.9), 0, None).sum(0)
    return [
        (weights.sum(1 - axis) * np.arange(weights.shape[axis])).sum() / weights.sum()
        for axis in (0, 1)
    ]


@pytest.mark.parametrize("method", ["position", "neighbour"])
def test_heat_lies_on_a_planted_square(method, eyes, tmp_path):
    """Rows and columns of unlike padding (96 and 117 px); saved and loaded, heat stays."""
    generator = np.random.default_rng(1)
    normal = generator.integers(100, 130, (24, 96, 117, 1)).astype(np.uint8)
    strange = normal[16:].copy()
    strange[:, 40:56, 64:80] = 250  # centred on 47.5, 71.5
    problem = ad_jax.Problem(train=normal[:16], target=strange)
    config = CONFIG._replace(steps=60)
    found = ad_jax.select(problem, SETTINGS[:1], seeds=(0,), config=config).detector
    found.fit_localiser(problem.train, method)
    heat = found.heatmaps(strange)
    assert heat.shape == (8, 96, 117) and np.isfinite(heat).all()
    np.testing.assert_allclose(middle_of(heat), (47.5, 71.5), atol=8)  # a position is 8 px
    found.save(tmp_path / "detector")
    np.testing.assert_array_equal(
        FittedDetector.load(tmp_path / "detector").heatmaps(strange), heat
    )


# ---- tiles ----


@pytest.fixture(scope="module")
def in_tiles(eyes):
    """A selection on tiles of 32 px, as one of whole images of 64 x 80 px with a square or none."""
    generator = np.random.default_rng(2)
    normal = generator.integers(100, 130, (20, 64, 80, 3)).astype(np.uint8)
    strange = normal[12:].copy()
    strange[:4, 36:52, 52:68] = 250  # centred on 43.5, 59.5
    problem, tiling = ad_jax.Problem(train=normal[:12], target=strange), Tiling(32, 0.25)
    cuts = tiles.tiled(problem, tiling.plan(problem.shape))
    config = CONFIG._replace(steps=60)
    found = ad_jax.select(cuts.problem, SETTINGS[:2], seeds=(0, 1), config=config)
    return of_images(found, problem, cuts, tiling), problem


def test_an_image_is_its_strangest_tile(in_tiles, eyes):
    found, problem = in_tiles
    networks = found.detector.networks
    cut = tiles.pieces(networks.plan, problem.target)
    alone = Networks(networks.state._replace(shape=(32, 32, 3), tiling=None))
    raw = networks.raw(problem.target)
    np.testing.assert_allclose(
        networks.look_at(problem.target).reshape(len(cut), 4, 4, -1).astype(np.float32),
        features.encode(eyes, cut).grid,
        atol=1e-2,
    )
    np.testing.assert_allclose(raw, alone.raw(cut).reshape(2, 8, -1).max(-1), rtol=1e-4)
    rows = found.pool.rows(found.pick, trained=True)
    np.testing.assert_allclose(raw, found.pool.own_scores()[0][rows], rtol=1e-3, atol=1e-4)
    squares = (problem.target == 250).any((1, 2, 3))
    score = found.detector.decision_function(problem.target)
    assert score[squares].mean() > score[~squares].max()


@pytest.mark.parametrize("method", ["head", "position", "neighbour"])
def test_tiles_show_the_square_where_it_is(method, in_tiles, tmp_path):
    found, problem = in_tiles
    detector = FittedDetector.of_networks(found.detector.networks)
    detector.fit_localiser(problem.train, method)
    heat = detector.heatmaps(problem.target)
    squares = (problem.target == 250).all(-1)  # of four images
    assert heat.shape == squares.shape and squares.any((1, 2)).sum() == 4
    if method != "head":  # a few steps on an encoder of random weights teach a head no squares
        assert heat[squares].mean() > 2 * heat[~squares].mean()
    detector.save(tmp_path / "detector")
    loaded = FittedDetector.load(tmp_path / "detector")
    np.testing.assert_array_equal(loaded.heatmaps(problem.target), heat)
    np.testing.assert_array_equal(
        loaded.decision_function(problem.target), detector.decision_function(problem.target)
    )


@pytest.mark.whole
def test_long_pictures_from_end_to_end(eyes, relaxed, tmp_path):
    """Select, score with heatmaps and audit sides of unlike length, whole and in tiles."""
    source, generator = tmp_path / "parts", np.random.default_rng(0)
    for kind, count in (("train/good", 12), ("test/good", 3), ("test/scratch", 3)):
        (source / kind).mkdir(parents=True)
        for i in range(count):
            pixels = generator.integers(100, 130, (40, 90), np.uint8)
            pixels[10:30, 50:70] += 120 * (kind == "test/scratch")
            Image.fromarray(pixels).save(source / kind / f"{i}.png")
    for name, more in (("whole", []), ("tiles", ["--tile", "24"])):
        run, maps = tmp_path / name, tmp_path / f"maps_{name}"
        command = ["select", f"{source},size=32x72", "--out", str(run), "--backbone", "tiny"]
        command += ["--steps", "4", "--width", "8", "--seeds", "2", "--strengths", "2"]
        command += ["--families", "binary/feature_noise", "--localiser", "neighbour"]
        assert cli.main([*command, *more]) == 0
        assert FittedDetector.load(run / "detector").shape == (32, 72, 1)
        scoring = ["score", str(run), str(source / "test"), "--alpha", "0.2"]
        assert cli.main([*scoring, "--heatmaps", str(maps)]) == 0
        overlays = [np.asarray(Image.open(one)) for one in maps.rglob("*.png.png")]
        assert {one.shape[:2] for one in overlays} == {(256, 576)} and len(overlays) == 6
        assert cli.main(["audit", str(run)]) == 0


# ---- what cannot be ----


@pytest.mark.parametrize(
    "shape, message",
    [
        ((12, 40, 3), "tiny needs 16 px a side, these are 12 x 40"),
        ((32, 32, 4), "give grey or RGB"),
    ],
)
def test_images_that_cannot_be_seen_leave_nothing_written(shape, message, eyes, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (12, *shape), np.uint8)
    np.savez(tmp_path / "parts.npz", train=images[:8], target=images[8:])
    problem = ad_jax.Problem(train=images[:8], target=images[8:])
    with pytest.raises(InputError, match=message):
        ad_jax.select(problem, SETTINGS, config=CONFIG, record=Record(tmp_path / "record"))
    command = ["select", str(tmp_path / "parts.npz"), "--out", str(tmp_path / "run")]
    assert cli.main([*command, "--backbone", "tiny"]) == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".npz"]


def test_tiles_that_are_too_small_are_refused(eyes, problem):
    with pytest.raises(InputError, match="these are 12 x 12; .* or take larger tiles"):
        ad_jax.Detector(backbone="tiny", tile=12, steps=2).fit(problem.train)


# ---- every platform ----


@pytest.mark.parametrize("over", [IN_TURN, SIDE_BY_SIDE], ids=["in turn", "side by side"])
@pytest.mark.parametrize("one", [*SETTINGS[:2], *WHOLE[1:]], ids=lambda one: one.family)
def test_a_chunk_lowers_for_every_platform(one, over, eyes, problem):
    sweep = Sweep([problem], [one], (0,), CONFIG)
    families = sweep.program_of(one)[1]
    hyper = pack_chunk(Chunk((one,), (0,)), families, 2, sweep._draws)
    keys = jax.vmap(lambda seed: seed_keys(0, seed))(jnp.zeros(2, int))
    members = PerMember(keys, tuple(hyper)[1:], jnp.array([True, False]), jnp.zeros(2, int))
    steps = jnp.int32(0), jnp.int32(2)
    seen = sweep._look_at(pretext_of(CONFIG, one))
    shared = Shared(hyper.family, *steps, *seen, sweep._weights)
    pretext = pretext_of(CONFIG, one)
    shape = features.seen_shape("tiny", problem.shape, pretext.shown)
    program = make_program(CONFIG, shape, pretext, families, over)
    lowers(program.init, keys, hyper)
    lowers(program.run, jax.eval_shape(program.init, keys, hyper), members, shared)


def test_drawing_lowers_for_every_platform(eyes, problem):
    draws, one = Draws(CONFIG, problem, features.Eyes("tiny")), SETTINGS[1]
    run = drawn._program(one.augmentation, *(tuple(map(tuple, c)) for c in draws._cells))
    keys = jax.random.split(jax.random.key(0), 4)
    hyper = {name: jnp.float32(value) for name, value in one.hyper.items()}
    lowers(run, hyper, keys, problem.train[:4], problem.train[4:8])


@pytest.mark.parametrize("name", ["neighbour", "density"])
def test_scores_of_positions_lower_for_every_platform(name, key):
    score, grids = scores.SCORES[name], jnp.ones((6, 4, 5, 8), jnp.float16)
    fit = lambda key, normals: positions.fit(score, key, normals)
    lowers(fit, key, grids)
    fitted = jax.eval_shape(fit, key, grids)
    lowers(lambda fitted, grids: positions.of_images(score, fitted, grids), fitted, grids)


@pytest.mark.parametrize("name", sorted(scores.SCORES))
def test_scores_of_pixels_and_embeddings_lower_for_every_platform(name):
    """What raw and global controls run, on rows `[n, d]`."""
    score, rows = scores.SCORES[name], jnp.ones((20, 8))
    lowers(score.fit, rows)
    lowers(score.score, jax.eval_shape(score.fit, rows), rows)


# ---- export ----


@pytest.mark.parametrize("name", ["whole", "tiles"])
def test_an_exported_program_holds_the_encoder(name, selection, in_tiles, problem, tmp_path):
    """Lowered for every platform; the same scores of any number of images, and what it refuses."""
    found, problem = (selection[0], problem) if name == "whole" else in_tiles
    found.detector.set_threshold(0.5).export(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        program = jax.export.deserialize(bytearray(file["program"]))
    assert program.platforms == PLATFORMS
    for count in (1, 5):
        images = problem.target[:count]
        expected = found.detector.decision_function(images)
        np.testing.assert_allclose(program.call(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("row, column", [(5, 8), (1, 12)])
def test_what_a_head_says_of_a_position_lies_on_its_centre(row, column, eyes):
    shape = (96, 117, 1)
    rows, columns = (features.cells(eyes, side) for side in shape[:2])
    told = Backbone(
        lambda key: (), lambda params, x: Outputs(None, None, (x,)), enter=lambda params, x: x
    )
    one = localise.make_localiser(localise.grid_maps(told, (rows, columns), True), shape, "head")
    said = np.zeros((3, *features.seen_shape("tiny", shape)[:2], 1), np.float32)
    said[2, row, column] = 1.0
    seen = one.features((), jnp.asarray(said))
    heat = np.asarray(one.scores(one.fit(seen[:2], seen[:2]), seen))[2]
    weights = np.clip(heat, 0, None)
    middle = [
        (weights.sum(1 - axis) * np.arange(shape[axis])).sum() / weights.sum() for axis in (0, 1)
    ]
    centre = rows.first + rows.stride * row, columns.first + columns.stride * column
    np.testing.assert_allclose(middle, centre, atol=0.3)


def test_only_heads_tell_positions(problem):
    with pytest.raises(InputError, match="'head' is of heads on frozen features"):
        ad_jax.Detector(localiser="head").fit(problem.train)


def test_every_pretext_on_features_is_scored_by_its_head(eyes):
    for name, family in (("binary", "cutpaste"), ("kinds", "cutpaste_scar")):
        pretext = pretext_of(CONFIG, setting(name, family))
        assert pretext.score == "head" and not pretext.jitter
        backbone = network(CONFIG, (4, 5, 16), pretext)
        params = backbone.init(jax.random.key(0))
        out = backbone.apply(params, jnp.zeros((2, 4, 5, 16)))
        assert out.logits.shape == (2, pretext.classes)


# ---- pretexts on whole images, and restoring ----


def test_positions_and_whole_images_stand_in_one_pool(eyes, problem):
    settings = [*WHOLE, *SETTINGS[:1]]
    sweep = Sweep([problem], settings, (0, 1), CONFIG)
    rows = sweep.advance(sweep.members, CONFIG.steps)
    ((pool,), trained, _) = sweep.finish(rows)
    assert np.isfinite(pool.own_scores()[0]).all() and pool.settings == settings
    for one in WHOLE:
        own = pool.own_scores()[0][pool.rows(one)]
        held_out = pool.own_scores()[1][pool.rows(one)]
        networks = [trained[one.key, seed] for seed in (0, 1)]
        made = FittedDetector.of(problem, one, networks, held_out, CONFIG, (0, 1))
        np.testing.assert_allclose(made.networks.raw(problem.target), own, rtol=2e-3, atol=2e-3)


def test_prediction_sees_the_embeddings_of_all_views(eyes, problem):
    shown = augment.get("vertical_flip").views
    seen = features.see("tiny", problem.train[:3], shown)
    plain = features.encode(eyes, problem.train[:3]).embedding
    turned = features.encode(eyes, problem.train[:3, ::-1].copy()).embedding
    np.testing.assert_allclose(seen[:, 0, 0], plain, atol=1e-5)
    np.testing.assert_allclose(seen[:, 1, 0], turned, atol=1e-5)
    np.testing.assert_allclose(features.Eyes("tiny").see(problem.train[:3], shown), seen, atol=1e-5)
    assert features.seen_shape("tiny", (32, 40, 3), shown) == seen.shape[1:]


def test_prediction_is_the_mean_over_views_of_their_own_log_probability(key):
    pretext = pretext_of(CONFIG, setting("prediction", "vertical_flip"))
    head = network(CONFIG, (2, 1, 6), pretext)
    params = head.init(key)
    sample = jax.random.normal(key, (1, 2, 1, 6))
    found = make_look(head, pretext).judge(params, sample)[1]
    logits = [head.apply(params, sample[:, v : v + 1]).logits[0] for v in (0, 1)]
    told = [-jax.nn.log_softmax(one)[v] for v, one in enumerate(logits)]
    np.testing.assert_allclose(found[0], np.mean(told), rtol=1e-5)


def test_restoring_is_scored_where_it_is_worst(key):
    pretext = pretext_of(CONFIG, setting("denoising", "feature_noise"))
    head = network(CONFIG, (4, 10, 3), pretext)
    params = head.init(key)
    sample = jax.random.normal(key, (2, 4, 10, 3))
    found = make_look(head, pretext).judge(params, sample)[1]
    out = head.apply(params, sample)
    errors = ((np.asarray(out.reconstruction) - np.asarray(sample)) ** 2).mean(-1).reshape(2, 40)
    np.testing.assert_allclose(found, np.sort(errors)[:, -2:].mean(1), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(out.stages[0]).reshape(2, 40), errors, rtol=1e-4)


def test_what_cannot_be_restored_or_told_is_refused(problem):
    for one, message in (
        (setting("denoising", "cutpaste"), "restores features"),
        (setting("prediction", "feature_noise"), "needs finitely many"),
    ):
        with pytest.raises(InputError, match=message):
            ad_jax.select(problem, [one], config=CONFIG)
    with pytest.raises(InputError, match="pooled"):
        ad_jax.select(problem, [setting("pooled", "cutpaste")], config=Config(4, 8))


# ---- scores that are fitted in the place of heads that learn ----


@pytest.mark.parametrize("name", ["neighbour", "density", "subspace", "global_neighbour"])
def test_a_fitted_score_is_a_member_like_others(name, eyes, problem, tmp_path):
    one = setting(name, "identity")
    found = ad_jax.select(problem, [one, SETTINGS[0]], seeds=(0, 1), config=CONFIG)
    pool = found.pool
    rows = pool.rows(one, trained=True)
    assert len(rows) == 2
    control = {
        "neighbour": "patch_nearest_neighbour",
        "density": "patch_density",
        "subspace": "patch_principal_components",
        "global_neighbour": "global_nearest_neighbour",
    }[name]
    (same,) = [c for c in pool.controls() if c.augmentation == control]
    own, others = (pool.own_scores()[0][some] for some in (rows, pool.rows(same)))
    # 300 positions fill the bank unevenly: another draw of them, a slightly other density.
    np.testing.assert_allclose(own, others, rtol=1e-2, atol=1e-2)
    detector = FittedDetector.of(
        problem,
        one,
        found.ensemble.members()[one.key].trained,
        found.ensemble.members()[one.key].held_out,
        CONFIG,
    )
    np.testing.assert_allclose(detector.networks.raw(problem.target), own, rtol=2e-3, atol=2e-3)
    if name.startswith("global"):
        with pytest.raises(InputError, match="global_neighbour"):
            detector.fit_localiser(problem, "head")
        return
    detector.fit_localiser(problem, "head")
    detector.save(tmp_path / name)
    again = FittedDetector.load(tmp_path / name)
    heat = again.heatmaps(problem.target)
    np.testing.assert_allclose(heat, detector.heatmaps(problem.target), rtol=1e-4, atol=1e-4)
    assert heat.shape == (10, 32, 40)


def test_what_a_fitted_score_would_not_use_is_refused(problem):
    with pytest.raises(InputError, match="trains nothing, so 'cutpaste' changes nothing"):
        ad_jax.select(problem, [setting("neighbour", "cutpaste")], config=CONFIG)


# ---- the ensemble ----


@pytest.fixture(scope="module")
def mixed(eyes):
    """An ensemble of heads on positions, on whole images, and of a fitted score."""
    generator = np.random.default_rng(1)
    normal = generator.integers(100, 130, (24, 48, 61, 1)).astype(np.uint8)
    strange = normal[16:].copy()
    strange[:, 16:32, 32:48] = 250
    problem = ad_jax.Problem(train=normal[:16], target=strange)
    settings = [*SETTINGS[:2], WHOLE[0], WHOLE[2], setting("neighbour", "identity")]
    return ad_jax.select(problem, settings, seeds=(0, 1, 4), config=CONFIG), problem


def single(mixed, one):
    found, problem = mixed
    members = found.ensemble.members()[one.key]
    trained = (members.trained, members.held_out, CONFIG, members.seeds)
    return FittedDetector.of(problem, one, *trained)


def fresh(found):
    """The ensemble anew, without a localiser."""
    return Ensemble(Committee(found.ensemble.state_))


@pytest.mark.parametrize("method", ["head", "position"])
def test_an_ensemble_draws_by_what_has_positions(method, mixed, tmp_path):
    """By hand: the weighted mean of the settings' heatmaps without those on whole images."""
    found, problem = mixed
    ensemble = fresh(found).fit_localiser(problem, method)
    shares = {key: w for key, w in ensemble.shares().items() if '"binary"' in key or "neigh" in key}
    assert len(shares) == 3 and len(ensemble.shares()) == 5
    expected = 0.0
    for one in (*SETTINGS[:2], setting("neighbour", "identity")):
        own = single(mixed, one).fit_localiser(problem, method).heatmaps(problem.target)
        expected = expected + shares[one.key] / sum(shares.values()) * own
    heat = ensemble.heatmaps(problem.target)
    np.testing.assert_allclose(heat, expected, rtol=2e-3, atol=2e-3)
    squares = (problem.target == 250).all(-1)
    if method != "head":  # a few steps on an encoder of random weights teach a head no squares
        assert heat[squares].mean() > heat[~squares].mean() + 3  # decades
    ensemble.save(tmp_path / "e")
    again = Ensemble.load(tmp_path / "e")
    np.testing.assert_array_equal(again.heatmaps(problem.target), heat)
    assert again.heatmap_alarm(0.2) == ensemble.heatmap_alarm(0.2) < np.inf
    kept = [len(p.localised.fitted.scale.maxima) for p in again.state_.parts if p.localised]
    assert sorted(kept) == ([3, 6] if method == "head" else [2, 2])  # seeds 0 and 4 are one fold


def test_an_image_is_encoded_once_for_all_parts(mixed, monkeypatch):
    found, problem = mixed
    ensemble, encoded, true = fresh(found), [], features.grids.in_blocks

    def counted(encoder, images, *rest):
        encoded.append(len(images))
        return true(encoder, images, *rest)

    monkeypatch.setattr("ad_jax.features.grids.in_blocks", counted)
    ensemble.fit_localiser(problem, "head")
    # The normals, and their two views for `prediction`, when they are checked; nothing after.
    assert sum(encoded) <= 16 + 2 * 16 and len(problem.train) == 16
    encoded.clear()
    ensemble.heatmaps(problem.target)
    assert encoded == [16]  # a block


def test_pretexts_on_whole_images_draw_nothing(mixed):
    found, problem = mixed
    with pytest.raises(InputError, match="pooled sees one embedding of a whole image"):
        single(mixed, WHOLE[0]).fit_localiser(problem, "position")
    state, rows = found.ensemble.state_, found.ensemble.rows()
    ((part, _), *_) = rows[WHOLE[2].key]
    count = len(state.parts[part].seeds)
    only = Ensemble(
        Committee(EnsembleState((state.parts[part],), (WHOLE[2],) * count, (1 / count,) * count))
    )
    with pytest.raises(InputError, match="no positions") as told:
        only.fit_localiser(problem)
    assert "\n" not in str(told.value)


def test_an_exported_ensemble_holds_the_encoder_once(mixed, eyes, tmp_path):
    found, problem = mixed
    found.ensemble.set_threshold(0.5).export(tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as file:
        content = file["program"].tobytes()
    program = jax.export.deserialize(bytearray(content))
    for count in (1, 5):
        images = problem.target[:count]
        expected = found.ensemble.decision_function(images)
        np.testing.assert_allclose(program.call(images), expected, rtol=1e-4, atol=1e-4)
    largest = max(jax.tree.leaves(eyes.params), key=np.size)
    assert content.count(np.asarray(largest, np.float32).tobytes()) == 1
