"""Where a detector looks: heatmaps from its own networks, tiles, and both through the commands."""

import csv
import io
import json

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.base import clone
from small_detector import LARGE, images, make, make_tiled, region, spoil

from ad_jax import cli
from ad_jax.base.errors import InputError
from ad_jax.data import Problem
from ad_jax.detect import Loading, Networks, NotFitted, localise, localising, saving, tiles
from ad_jax.detect.state import Localised
from ad_jax.estimator import Detector
from ad_jax.train.backbones import as_unit


@pytest.fixture(scope="module")
def whole():
    return make().fit_localiser(images(40), "texture")


@pytest.fixture(scope="module")
def tiled():
    return make_tiled()


# ---- heatmaps ----


def test_heatmaps_are_the_mean_of_the_seeds_localisers(whole):
    """Against the functions, seed by seed, on the normals of each seed's own split."""
    problem, new = Problem(train=images(40), target=images(1)), images(20, seed=5)
    networks = whole.networks
    read = localise.network_maps(networks.backbone, (16, 16, 1))
    one = localise.make_localiser(read, (16, 16, 1), "texture")
    one = localise.Localiser(*map(jax.jit, one))
    expected = []
    for seed in range(3):
        params = networks.unravel(networks.arrays["params"][seed])
        split = problem.split(seed)
        fitted = one.fit(*(one.features(params, as_unit(part)) for part in split))
        expected.append(one.look(params, fitted, as_unit(new)))
    found = whole.heatmaps(new)
    assert found.shape == (20, 16, 16) and found.dtype == np.float32
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=2e-3)
    np.testing.assert_allclose(whole.heatmaps(new[17:, ..., 0]), found[17:], atol=1e-4)


def test_a_patch_stands_out(whole):
    new = images(4, seed=6)
    new[:, 4:9, 6:11] = 255
    heat = whole.heatmaps(new)
    inside = heat[:, 5:8, 7:10].mean()
    assert inside > heat[:, 12:, :4].mean() + 1.0 and heat.max() > whole.heatmap_alarm(0.1)


def test_the_alarm_counts_held_out_images_of_all_seeds(whole):
    maxima = np.asarray(whole.state_.localised.fitted.scale.maxima)
    assert maxima.shape == (3, 10)
    assert whole.heatmap_alarm(0.1) == np.sort(maxima.ravel())[27]  # of 30: ceil(31 * .9) = 28th
    assert whole.heatmap_alarm(0.01) == np.inf
    with pytest.raises(InputError, match="share=2"):
        whole.heatmap_alarm(2)


def alarmed(maxima, folds):
    """What a detector's alarm reads: the highest decades `[seeds, m]` of held-out images."""
    blank = localise.Scale(np.zeros(0), np.zeros(0), np.zeros(0), np.asarray(maxima))
    state = make().state_._replace(folds=tuple(folds))
    return state._replace(localised=Localised("texture", localise.Fitted(None, None, blank)))


def test_the_alarm_counts_an_image_once_however_many_seeds_held_it_out():
    maxima = np.random.default_rng(0).uniform(2.0, 4.0, (4, 9))
    assert localising.alarm(alarmed(maxima, [0] * 4), 0.05) == np.inf  # it takes 19 images
    assert localising.alarm(alarmed(maxima, range(4)), 0.05) < np.inf  # here there are 36
    found = localising.alarm(alarmed(maxima, [0] * 4), 0.1)
    assert found == pytest.approx(maxima.mean(0).max())
    two_folds = np.concatenate([maxima[::2].mean(0), maxima[1::2].mean(0)])
    found = localising.alarm(alarmed(maxima, [0, 1, 0, 1]), 0.1)
    assert found == pytest.approx(np.sort(two_folds)[17])  # of 18: ceil(19 * .9) = 18th


@pytest.mark.parametrize(
    ("count", "noise"), [(9, 0.0), (9, 0.2), (5, 0.2), (19, 0.0), (19, 0.2), (39, 0.2), (39, 1.0)]
)
def test_normal_images_reach_the_alarm_as_rarely_as_asked(count, noise):
    """Four seeds that see the same images with noise of their own; maps of 64 pixels."""
    generator, reached = np.random.default_rng(0), []
    fit, decades = (jax.jit(jax.vmap(f)) for f in (localise.fit_scale, localise.to_decades))

    def seen(images):
        pixels = generator.normal(size=(images, 64)) + 0.3 * generator.standard_t(4, (images, 1))
        return np.float32(pixels + noise * generator.normal(size=(4, *pixels.shape)))

    for _ in range(60):
        scale = fit(seen(count))
        bar = localising.alarm(alarmed(scale.maxima, [0] * 4), 0.05)
        reached.append((np.asarray(decades(scale, seen(100))).mean(0).max(1) > bar).mean())
    error = np.std(reached) / np.sqrt(len(reached))
    assert np.mean(reached) <= 0.05 + 3 * error
    assert np.mean(reached) > 0.005 or count < 19


def test_without_a_localiser_the_way_to_one_is_said():
    for call in (lambda: make().heatmaps(images(2)), lambda: make().heatmap_alarm()):
        with pytest.raises(InputError, match=r"call fit_localiser\(X\) with its normals"):
            call()
    with pytest.raises(NotFitted):
        Detector().heatmaps(images(2))
    with pytest.raises(NotFitted):
        Detector().fit_localiser(images(2))


def test_only_the_normals_of_the_fit_make_a_localiser():
    order = np.random.default_rng(0).permutation(40)
    make().fit_localiser(images(40)[order], "texture")
    others = images(40)
    others[::2] = images(20, seed=4)
    for normals in (others, images(36), images(40, seed=9)):
        with pytest.raises(InputError, match="not the normals"):
            make().fit_localiser(normals)
    with pytest.raises(InputError, match="'best'; known: position"):
        make().fit_localiser(images(40), "best")


@pytest.mark.parametrize(
    ("change", "normals", "message"),
    [
        ({"localiser": "best"}, images(40), "'best'; known: position"),
        ({"localiser": 3}, images(40), "localiser=3"),
        ({"localiser": "position", "backbone": "mlp"}, images(40), "no positions"),
        ({"localiser": "position"}, np.eye(40, 9) + np.arange(40)[:, None], "shape"),
        ({"tile": 0}, images(40), "tile=0"),
        ({"tile": 8}, images(40), "8 x 8 px are smaller"),
        ({"tile": "big"}, images(40), "tile='big'"),
        ({"tile": 17}, images(40), "tile=17 px is larger"),
        ({"tile": 16, "overlap": 1}, images(40), "overlap=1"),
        ({"tile": 16}, np.eye(40, 9) + np.arange(40)[:, None], "images"),
    ],
)
def test_fit_refuses_before_anything_is_trained(change, normals, message):
    with pytest.raises(InputError, match=message) as error:
        Detector(**{"steps": 3, "width": 8, **change}).fit(normals)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("roi", [np.ones((3, 3)), np.zeros((16, 16)), [[1], [1, 2]], "all"])
def test_a_region_that_does_not_fit_is_refused(roi):
    with pytest.raises(InputError, match="region|roi"):
        Detector(tile=16).fit(images(40), roi=roi)
    with pytest.raises(InputError, match="roi needs tile="):
        Detector().fit(images(40), roi=roi)


# ---- tiles ----


def test_an_image_is_its_strangest_tile(tiled):
    new = images(5, LARGE, 3)
    state = tiled.state_
    cut = np.asarray(tiles.cut(tiled.networks.plan, new))
    assert cut.shape == (5, 6, 16, 16, 1) and tiled.networks.tiles == 6
    alone = Networks(state._replace(shape=(16, 16, 1), tiling=None))
    expected = alone.raw(cut.reshape(-1, 16, 16, 1)).reshape(3, 5, 6).max(-1)
    np.testing.assert_allclose(tiled.networks.raw(new), expected, rtol=1e-5)


def test_whole_held_out_images_calibrate(tiled):
    problem = Problem(train=images(16, LARGE), target=images(2, LARGE, 1))
    folds = tiles.tiled(problem, tiled.networks.plan).folds
    assert sorted(np.bincount(folds)) == [4, 4, 4, 4]
    held_out = tiled.state_.arrays["held_out"]
    assert held_out.shape == (3, 4) and len(tiled.calibration_.scores) == 12
    for seed in range(3):
        expected = tiled.networks.raw(problem.train[folds == seed])[seed]
        np.testing.assert_allclose(held_out[seed], expected, rtol=1e-5)
    p = tiled.p_values(images(6, LARGE, 5))
    assert ((p >= 1 / 13) & (p <= 1)).all()


def test_tiles_of_an_image_stay_in_its_fold(tiled):
    problem = Problem(train=images(16, LARGE), target=images(2, LARGE, 1))
    cuts = tiles.tiled(problem, tiled.networks.plan)
    home = {}
    for fold, image in zip(cuts.folds, problem.train, strict=True):
        for tile in np.asarray(tiles.cut(cuts.plan, image[None]))[0]:
            home[tile.tobytes()] = fold
    for seed in range(4):
        split = cuts.problem.split(seed)
        assert {home[tile.tobytes()] for tile in split.held_out} == {seed}
        assert seed not in {home[tile.tobytes()] for tile in split.train}


def test_what_is_outside_the_region_does_not_count(tiled):
    new = images(5, LARGE, 3)
    changed = new.copy()
    changed[:, :, :4] = 255
    for look in (tiled.decision_function, tiled.heatmaps):
        np.testing.assert_array_equal(look(changed), look(new))
    heat = tiled.heatmaps(new)
    assert heat.shape == (5, 40, 28) and (heat[:, :, :4] == 0).all() and (heat[:, :, 4:] > 0).all()
    pixels = 10.0 ** np.asarray(tiled.state_.localised.fitted.scale.decades)[:, -1] - 1
    np.testing.assert_allclose(pixels, 4 * 40 * 24, rtol=1e-3)


@pytest.mark.whole
def test_fit_on_tiles_is_the_whole_path(relaxed):
    normals = images(12, LARGE)
    one = Detector(tile=16, localiser="texture", steps=3, width=8, alpha=0.2)
    one.fit(normals, roi=region())
    assert one.decision_scores_.shape == (12,) and one.shape == LARGE
    assert one.state_.seen == (16, 16, 1) and len(one.calibration_.scores) == 12
    np.testing.assert_array_equal(
        np.sort(one.decision_scores_), one.calibration_.scores
    )  # four folds of three: every image is held out
    new = images(4, LARGE, 8)
    np.testing.assert_array_equal(one.predict(new), one.p_values(new) <= 0.2)
    again = clone(one)
    assert again.tile == 16 and again.localiser == "texture"
    maps = one.heatmaps(new)
    other = clone(one).set_params(localiser=None)
    other._take(one.networks)
    np.testing.assert_array_equal(other.fit_localiser(normals, "texture").heatmaps(new), maps)


# ---- saving ----


def folder_of(detector, path):
    detector.loading = Loading("stretch")
    detector.save(path)
    return path


@pytest.fixture(scope="module")
def saved(tiled, tmp_path_factory):
    return folder_of(tiled, tmp_path_factory.mktemp("tiled") / "detector")


@pytest.mark.parametrize("method", localise.METHODS)
def test_localisers_travel_bit_by_bit(method, tmp_path):
    one, new = make().fit_localiser(images(40), method), images(3, seed=5)
    one.save(tmp_path)
    again = Detector.load(tmp_path)
    assert again.localiser == method
    np.testing.assert_array_equal(again.heatmaps(new), one.heatmaps(new))
    assert again.heatmap_alarm(0.1) == one.heatmap_alarm(0.1)


def test_tiles_and_their_region_travel(saved, tiled):
    one, new = Detector.load(saved), images(5, LARGE, 3)
    np.testing.assert_array_equal(one.state_.tiling.region, region())
    assert (one.tile, one.overlap, one.localiser) == (16, 0.25, "texture")
    for name in ("decision_function", "p_values", "heatmaps"):
        np.testing.assert_array_equal(getattr(one, name)(new), getattr(tiled, name)(new))


def test_half_a_matrix_per_position_is_written(tmp_path):
    make().fit_localiser(images(40), "position").save(tmp_path)
    from safetensors.numpy import load_file

    half = load_file(tmp_path / "arrays.safetensors")["localiser.state.precision"]
    assert half.shape == (3, 64, 8 * 9 // 2)


def test_format_2_says_how_to_get_heatmaps(tmp_path):
    make().save(tmp_path)
    path = tmp_path / "detector.json"
    about = json.loads(path.read_text())
    del about["tiles"], about["localiser"]
    about["format"] = 2
    about["sha256"] = saving._checksum(about, (tmp_path / "arrays.safetensors").read_bytes())
    path.write_bytes(saving._text(about))
    one = Detector.load(tmp_path)
    with pytest.raises(InputError, match="fit_localiser"):
        one.heatmaps(images(2))
    assert one.fit_localiser(images(40), "texture").heatmaps(images(2)).shape == (2, 16, 16)


def test_a_localiser_of_format_3_is_left_out(tmp_path):
    """It was fitted with maps moved against each other, so that its heatmaps would not fit."""
    one = make().fit_localiser(images(40), "texture")
    one.save(tmp_path)
    path, new = tmp_path / "detector.json", images(3, seed=5)
    about = json.loads(path.read_text())
    assert about["format"] > 3 and about["localiser"] == "texture"
    about["format"] = 3
    about["sha256"] = saving._checksum(about, (tmp_path / "arrays.safetensors").read_bytes())
    path.write_bytes(saving._text(about))
    old = Detector.load(tmp_path)
    np.testing.assert_array_equal(old.decision_function(new), one.decision_function(new))
    for call in (lambda: old.heatmaps(new), old.heatmap_alarm):
        with pytest.raises(InputError, match=r"format 3 is left out.*call fit_localiser"):
            call()
    again = old.fit_localiser(images(40), "texture").heatmaps(new)
    np.testing.assert_array_equal(again, one.heatmaps(new))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damage_anywhere_is_refused(saved, tmp_path, data):
    """With a region and a localiser: any bit flipped, any end cut, any file gone."""
    folder = tmp_path / "copy"
    spoil(saved, folder, data, ["flip", "cut", "remove"])
    with pytest.raises(InputError) as error:
        Detector.load(folder)
    assert "\n" not in str(error.value)


# ---- any input ----

DTYPES = (np.uint8, np.float16, np.float32, np.float64, np.int64, bool, complex, object, "U3")
VALUES = (0, 1, 0.5, -1, 255, 1e300, 1e-300, np.nan, np.inf, -np.inf)


def filled(shape, dtype, value):
    with np.errstate(all="ignore"):
        try:
            return np.full(shape, value, dtype)
        except (ValueError, OverflowError):
            return np.full(shape, 0, dtype)


def finite_or_one_line(call, samples):
    try:
        found = call(samples)
    except InputError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert np.isfinite(found).all() and len(found) == len(samples)


@settings(max_examples=50, deadline=None)
@given(
    st.one_of(
        st.lists(st.sampled_from([0, 1, 3, 16, 28, 40]), max_size=5).map(tuple),
        st.integers(0, 3).map(lambda n: (n, *LARGE)),
        st.integers(0, 3).map(lambda n: (n, *LARGE[:2])),
        st.integers(0, 3).map(lambda n: (n, 16, 16, 1)),
    ),
    st.sampled_from(DTYPES),
    st.sampled_from(VALUES),
    st.sampled_from(VALUES),
)
def test_any_input_gives_finite_results_or_one_line(whole, tiled, shape, dtype, value, other):
    """Whole images and tiles; scores, p-values, flags and maps; one sample may be unlike others."""
    samples = filled(shape, dtype, value)
    if samples.size and samples.ndim:
        samples[-1] = filled(samples.shape[1:], dtype, other)
    for one in (whole, tiled):
        for call in (one.decision_function, one.p_values, one.predict, one.heatmaps, one.flags):
            finite_or_one_line(call, samples)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(width=32), min_size=9, max_size=9))
def test_any_row_has_a_finite_score_or_is_refused(values):
    """Rows have no range: what overflows in the network is refused, not scored as if it were 0."""
    row = np.array([values], np.float32)
    finite_or_one_line(make((9,)).decision_function, row)
    with pytest.raises(InputError, match="positions|finite|NaN"):
        make((9,)).decision_function(np.where(np.arange(9) == 4, 3e38, row))


@settings(max_examples=80, deadline=None)
@given(
    st.one_of(
        st.lists(st.sampled_from([0, 1, 3, 7, 16]), max_size=5).map(tuple),
        st.integers(0, 12).map(lambda n: (n, 16, 16, 1)),
    ),
    st.sampled_from(DTYPES),
    st.sampled_from(VALUES),
    st.booleans(),
    st.sampled_from([None, 16, 5, -1, 1.5, np.nan]),
)
def test_any_normals_are_trained_on_or_refused_in_one_line(shape, dtype, value, vary, tile):
    """Everything up to the training itself, which is left out here."""
    samples = filled(shape, dtype, value)
    if vary and samples.size and samples.ndim and samples.dtype.kind in "uif":
        samples = samples + np.arange(len(samples), dtype=samples.dtype).reshape(
            -1, *[1] * (samples.ndim - 1)
        )

    class Trained(Exception):
        pass

    def stop(*_):
        raise Trained

    patch = pytest.MonkeyPatch()
    patch.setattr("ad_jax.estimator.train_one", stop)
    try:
        Detector(tile=tile, alpha=0.2, steps=3, width=8).fit(samples)
    except InputError as error:
        assert str(error) and "\n" not in str(error)
    except Trained:
        # A false-positive rate of .2 needs four held-out normals, and few normals are all held out.
        assert shape[0] >= 4 and np.isfinite(np.asarray(samples, float)).all()
    finally:
        patch.undo()


# ---- commands ----


@pytest.fixture(scope="module")
def square(whole, tmp_path_factory):
    return folder_of(whole, tmp_path_factory.mktemp("whole") / "detector")


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "new"
    for name in ("a.png", "b/a.png", "b/a.jpg"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 200, (24, 24, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    return root


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_overlays_of_a_stream(square, pictures, tmp_path, capsys):
    (pictures / "broken.png").write_text("no picture")
    out = tmp_path / "maps"
    assert cli.main(["score", str(square), str(pictures), "--heatmaps", str(out)]) == 1
    told = capsys.readouterr()
    assert "broken.png: no PNG" in told.err and "one colour scale" in told.err
    assert len(list(csv.DictReader(io.StringIO(told.out)))) == 3
    made = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert made == ["a.png.png", "b/a.jpg.png", "b/a.png.png", "scale.png"]
    assert pixels_of(out / "a.png.png").shape == (256, 256, 3)


def test_one_scale_over_all_images(square, tmp_path, capsys):
    """The same image has the same overlay, whatever stands beside it."""
    rows = images(3, seed=5)
    rows[2] = 255
    for name, some in (("one", rows[:1]), ("all", rows)):
        np.savez(tmp_path / f"{name}.npz", X=some)
        command = ["score", str(square), str(tmp_path / f"{name}.npz")]
        assert cli.main([*command, "--heatmaps", str(tmp_path / name)]) == 0
    capsys.readouterr()
    one, other = (
        pixels_of(tmp_path / name / f"{name}.npz:X[0].png").astype(int) for name in ("one", "all")
    )
    assert np.abs(one - other).max() <= 1


def test_paths_from_elsewhere_keep_their_folders(square, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{pictures / 'a.png'}\n"))
    out = tmp_path / "maps"
    assert cli.main(["score", str(square), "-", "--heatmaps", str(out)]) == 0
    (made,) = (path for path in out.rglob("*.png.png"))
    assert str(made).endswith(f"{pictures}/a.png.png")


def test_heatmaps_that_cannot_be(square, pictures, tmp_path, capsys):
    make().save(tmp_path / "plain")
    out = tmp_path / "maps"
    command = ["score", str(tmp_path / "plain"), str(pictures), "--heatmaps", str(out)]
    assert cli.main(command) == 2
    assert "--localiser" in capsys.readouterr().err and not out.exists()
    out.write_text("a file")
    assert cli.main(["score", str(square), str(pictures), "--heatmaps", str(out)]) == 2
    assert "is a file" in capsys.readouterr().err


def test_info_tells_tiles_and_localiser(saved, capsys):
    assert cli.main(["info", str(saved)]) == 0
    said = capsys.readouterr().out
    assert "localiser              texture" in said and "tiles                  6" in said


SIZES = {"train": 12, "target": 5}


@pytest.mark.whole
def test_select_on_tiles_from_end_to_end(relaxed, tmp_path, capsys):
    """Select, score with heatmaps, audit: everything is of whole images, one row an image."""
    source, generator = tmp_path / "parts", np.random.default_rng(0)
    for kind, count in (("train/good", 12), ("test/good", 3), ("test/scratch", 3)):
        (source / kind).mkdir(parents=True)
        for i in range(count):
            pixels = generator.integers(0, 128, (24, 24), np.uint8)
            pixels[4:9, 12:] += 127 * (kind == "test/scratch")
            Image.fromarray(pixels).save(source / kind / f"{i}.png")
    mask = np.full((24, 24), 255, np.uint8)
    mask[:, :3] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    run, maps = tmp_path / "run", tmp_path / "maps"
    command = ["select", f"{source},size=24", "--out", str(run), "--steps", "8", "--width", "8"]
    command += ["--seeds", "2", "--areas", ".05,.2", "--families", "binary/cutpaste"]
    tiled = ["--tile", "16", "--roi", str(tmp_path / "mask.png"), "--localiser", "texture"]
    assert cli.main([*command, *tiled]) == 0
    with np.load(run / "scores.npz") as file:
        assert file["scores"].shape[2] == 6 and file["held_out"].shape[2] == 3
        pick = file["pick"]
    one = Detector.load(run / "detector")
    assert one.networks.tiles == 4 and one.shape == (24, 24, 1)
    assert not one.state_.tiling.region[:, :3].any() and one.state_.tiling.region[:, 3:].all()
    capsys.readouterr()
    assert cli.main(["score", str(run), str(source / "test"), "--heatmaps", str(maps)]) == 2
    assert "unattainable" in capsys.readouterr().err and not maps.exists()  # 6 held out, alpha .05
    asked = ["--alpha", "0.2", "--heatmaps"]
    scoring = ["score", str(run), str(source / "test"), *asked]
    assert cli.main([*scoring, str(tmp_path / "joined")]) == 0  # by the ensemble
    assert len(list((tmp_path / "joined").rglob("*.png.png"))) == 6
    capsys.readouterr()
    assert cli.main([*scoring, str(maps), "--pick"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    np.testing.assert_allclose(
        sorted(float(row["score"]) for row in rows), np.sort(pick), rtol=1e-3, atol=1e-3
    )
    assert len(list(maps.rglob("*.png.png"))) == 6
    assert cli.main(["audit", str(run)]) == 0
    assert cli.main([*command, "--tile", "18"]) == 2  # other tiles are other data
    assert "begun on other data" in capsys.readouterr().err
    for option in (["--overlap", "0.5"], ["--roi", "mask.png"]):
        assert cli.main([*command, *option]) == 2
        assert "needs --tile" in capsys.readouterr().err
    assert cli.main([*command, "--tile", "16", "--roi", str(source / "none.png")]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.whole
def test_tune_on_tiles_from_end_to_end(relaxed, tmp_path, capsys):
    """What is descended and trained are tiles; the run's rows and its detector are of images."""
    generator, run = np.random.default_rng(0), tmp_path / "run"
    samples = {n: generator.integers(0, 255, (k, 24, 24, 1), np.uint8) for n, k in SIZES.items()}
    np.savez(tmp_path / "parts.npz", **samples)
    command = ["tune", str(tmp_path / "parts.npz"), "--out", str(run), "--tile", "16"]
    command += ["--tune", "area", "--estimator", "first_order", "--starts", "1", "--batch", "4"]
    command += ["--outer", "calibrated_dsv_uncapped"]
    command += ["--outer-steps", "1", "--horizon", "1", "--warm-up", "0"]
    assert cli.main([*command, "--steps", "3", "--width", "8", "--seeds", "2"]) == 0
    with np.load(run / "scores.npz") as file:
        assert file["scores"].shape[2] == SIZES["target"] and len(file["pick"]) == SIZES["target"]
    one = Detector.load(run / "detector")
    assert one.networks.tiles == 4 and one.shape == (24, 24, 1)
    assert (run / "tuning.png").is_file()
    assert cli.main(["tune", str(tmp_path / "parts.npz"), "--roi", "mask.png"]) == 2
    assert "--roi needs --tile" in capsys.readouterr().err
