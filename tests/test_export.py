"""The exported detector: scored by jax and numpy alone, in another process."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.export
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from small_detector import LARGE, images, make, make_tiled, region

from ad_jax import cli
from ad_jax.base.errors import InputError
from ad_jax.detect import Networks
from ad_jax.detect.look import network
from ad_jax.detect.state import Tiling
from ad_jax.estimator import Detector
from ad_jax.selection import search
from ad_jax.train import pretexts

PAGE = (Path(__file__).parent.parent / "docs" / "guide" / "detector.md").read_text()
CODES = re.findall(r"```python\n(.*?)```", PAGE, re.S)
(ALONE,) = (code for code in CODES if "jax.export.deserialize" in code)
BEFORE = """
import sys
import numpy as np
for images in np.load("in.npz").values():
"""
AFTER = """
    np.savez(f"out{len(images)}.npz", scores=scores, p=p, flags=flags)
foreign = {"ad_jax", "flax", "optax", "PIL", "sklearn", "safetensors"} & set(sys.modules)
assert not foreign, foreign
"""


@pytest.mark.parametrize(
    ("detector", "shape"), [(make, (16, 16, 1)), (make_tiled, LARGE)], ids=["whole", "tiles"]
)
def test_scores_without_the_package(detector, shape, tmp_path):
    """By the lines of the detector's page, any number of samples at once, equal within 1e-4."""
    one = detector().set_params(alpha=0.1)
    one.export(tmp_path / "detector.npz")
    batches = {f"n{n}": images(n, shape, n, high=200) for n in (1, 2, 19)}
    np.savez(tmp_path / "in.npz", **batches)
    code = BEFORE + textwrap.indent(ALONE, "    ") + AFTER
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    for batch in batches.values():
        with np.load(tmp_path / f"out{len(batch)}.npz") as out:
            scores = one.decision_function(batch)
            np.testing.assert_allclose(out["scores"], scores, rtol=1e-4, atol=1e-4)
            apart = np.abs(scores[:, None] - one.calibration_.scores).min(1) > 1e-3
            np.testing.assert_allclose(out["p"][apart], one.p_values(batch)[apart])
            np.testing.assert_array_equal(out["flags"][apart], one.predict(batch)[apart])


FAMILIES = {
    "binary": "cutpaste",
    "kinds": "cutpaste_scar",
    "prediction": "quarter_turns",
    "denoising": "cutpaste",
}


@pytest.mark.whole
@pytest.mark.parametrize(
    ("pretext", "score", "tiling"),
    [(name, score, None) for name in pretexts.PRETEXTS for score in ("density", "head")]
    + [("prediction", "head", Tiling(16, 0.25, region()))],
)
def test_every_pretext_and_score_is_exported(pretext, score, tiling, tmp_path):
    """By the command, from a saved detector; equal to its own scores."""
    setting = search.setting(pretext, FAMILIES[pretext])
    task = pretexts.make(pretext, FAMILIES[pretext])
    shape = (16, 16, 1) if tiling is None else LARGE
    old = make().state_
    backbone = network(old.config, (16, 16, 1), task)
    params = np.asarray(ravel_pytree(jax.jit(backbone.init)(jax.random.key(0)))[0])
    arrays = {name: array[:1] for name, array in old.arrays.items()} | {"params": params[None]}
    state = old._replace(
        setting=setting, score=score, shape=shape, seeds=(0,), folds=(0,), tiling=tiling
    )
    raw = Networks(state._replace(arrays=arrays)).raw(images(10, shape))
    one = Detector.of_networks(Networks(state._replace(arrays=arrays | {"held_out": raw})), 0.1)
    one.save(tmp_path / "run" / "detector")
    out = tmp_path / "a.npz"
    assert cli.main(["export", str(tmp_path / "run"), str(out)]) == 0
    with np.load(out) as file:
        program = jax.export.deserialize(bytearray(file["program"]))
    new = images(12, shape, 2, high=200)
    scores = one.decision_function(new)
    assert np.ptp(scores) > 0.1
    np.testing.assert_allclose(program.call(new), scores, rtol=1e-4, atol=1e-4)


def test_what_has_no_finite_score_is_flagged(tmp_path):
    state = make().state_._replace(dtype="float32")
    one = Detector.of_networks(Networks(state), 0.1)
    one.export(tmp_path / "a.npz")
    rows = np.full((4, 16, 16, 1), 0.5, np.float32)
    rows[0, 3, 3], rows[1, 3, 3], rows[2] = np.nan, np.inf, 1e30
    with np.load(tmp_path / "a.npz") as file:
        scores = np.asarray(jax.export.deserialize(bytearray(file["program"])).call(rows))
    assert (scores[:3] == np.inf).all()
    assert scores[3] == pytest.approx(one.decision_function(rows[3:])[0], abs=1e-4)


def test_what_the_file_says(tmp_path):
    one = make().set_params(alpha=0.1)
    one.export(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        about = json.loads(str(file["about"]))
        np.testing.assert_array_equal(file["held_out"], one.calibration_.scores)
        assert file["threshold"] == np.float32(one.threshold_)
        program = jax.export.deserialize(bytearray(file["program"]))
    assert program.platforms == ("cpu", "cuda", "tpu")
    assert about["shape"] == [16, 16, 1] and about["dtype"] == "uint8" and about["alpha"] == 0.1
    assert program.in_avals[0].dtype == np.uint8 and len(program.in_avals) == 1


def test_an_alpha_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(InputError, match="unattainable"):
        make().set_params(alpha=0.001).export(tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


def test_the_command(tmp_path, capsys):
    make().set_params(alpha=0.1).save(tmp_path / "run" / "detector")
    out = tmp_path / "deploy" / "a.npz"
    assert cli.main(["export", str(tmp_path / "run"), str(out)]) == 0
    assert str(out) in capsys.readouterr().out and out.is_file()
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "a.pb")]) == 2
    assert "does not end in .npz" in capsys.readouterr().err
