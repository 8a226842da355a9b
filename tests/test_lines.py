"""Sheets of series and rows: every entry has its row, and what was changed is marked."""

import jax.numpy as jnp
import numpy as np
import pytest

import ad_jax
from ad_jax import augment
from ad_jax.report import lines
from ad_jax.report.catalogue import SECTIONS, page
from ad_jax.report.figures import theme
from ad_jax.report.preview import sheet

GENERATOR = np.random.default_rng(0)
SERIES = GENERATOR.normal(size=(6, 32, 2)).astype(np.float32)
ROWS = GENERATOR.normal(size=(6, 35)).astype(np.float32)


@pytest.fixture
def axes():
    with theme.style():
        yield theme.page(200, 100).subplots()


def spans(axes):
    """First point and end of what is shaded."""
    found = [patch.get_extents().transformed(axes.transData.inverted()) for patch in axes.patches]
    return [(round(one.x0 + 0.5), round(one.x1 + 0.5)) for one in found]


def marked(axes):
    """Columns with a mark of the augmentation's colour."""
    own = [one for one in axes.lines if one.get_color() == lines.AFTER]
    return [int(x) for one in own for x in one.get_xdata()]


def test_the_stretches_of_a_mask_are_shaded_single_points_too(axes):
    mask = np.zeros(32)
    mask[3:9], mask[20] = 1.0, 0.4
    lines.draw_series(axes, SERIES[0], SERIES[1], mask)
    assert spans(axes) == [(3, 9), (20, 21)]


@pytest.mark.parametrize("name", ["mean_shift", "extremum", "segment_cutpaste"])
def test_of_series_all_that_changed_lies_in_the_mask(name, axes):
    samples = jnp.asarray(SERIES[:2])
    for _, made, mask in lines.drawn(augment.SERIES[name], (32, 2), samples, 0):
        changed = (np.abs(made - SERIES[0]) > 1e-5).any(1)
        assert changed.any() and not (changed & (mask == 0)).any()
    lines.draw_series(axes, SERIES[0], made, mask)
    shaded = np.zeros(32, bool)
    for start, stop in spans(axes):
        shaded[start:stop] = True
    np.testing.assert_array_equal(shaded, mask > lines.CHANGED)


def test_of_rows_the_columns_that_changed_are_marked(axes):
    samples = jnp.asarray(ROWS[:2])
    *_, (_, made, mask) = lines.drawn(augment.FEATURES["feature_swap"], (35,), samples, 0)
    lines.draw_row(axes, ROWS[0], made, mask)
    changed = np.flatnonzero(made != ROWS[0])
    assert 0 < len(changed) < 35 and marked(axes) == changed.tolist()
    np.testing.assert_array_equal(made[changed], ROWS[1][changed])


def test_wide_rows_are_cut_and_that_is_said(axes):
    wide = np.zeros(500)
    lines.draw_row(axes, wide, wide + 1, np.ones(500))
    assert marked(axes) == list(range(lines.MOST))
    assert f"the first {lines.MOST} of 500 columns" in lines.axes_of((500,))


def test_every_entry_of_a_modality_has_a_row():
    assert set(lines.entries((32, 2))) == set(augment.SERIES)
    assert set(lines.entries((35,))) == set(augment.FEATURES)


@pytest.mark.parametrize("train", [SERIES, ROWS], ids=["series", "rows"])
def test_a_sheet_grows_with_its_entries(train, monkeypatch):
    some = ("mean_shift", "extremum") if train.ndim == 3 else ("feature_noise", "feature_swap")
    for many in (1, 2):
        kept = {name: augment.get(name) for name in some[:many]}
        monkeypatch.setattr(augment, "SERIES" if train.ndim == 3 else "FEATURES", kept)
        drawn = sheet(ad_jax.Problem(train=train, target=train[:1], series=train.ndim == 3))
        assert drawn.size == (2 * lines.WIDTH, 2 * (many * lines.HEIGHT + 60))
        assert len(set(np.asarray(drawn.convert("L")).ravel().tolist())) > 20


def test_the_catalogue_names_every_augmentation_once():
    text = page().splitlines()
    for entries in (augment.CATALOGUE, augment.SERIES, augment.FEATURES):
        for name in entries:
            assert text.count(f"### {name}") == 1
    assert [len(one.entries) for one in SECTIONS] == [
        len(augment.CATALOGUE),
        len(augment.SERIES),
        len(augment.FEATURES),
    ]
