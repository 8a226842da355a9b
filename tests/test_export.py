"""The exported detector: scored by jax and numpy alone, in another process."""

import json
import subprocess
import sys

import jax.export
import numpy as np
import pytest
from small_detector import LARGE, images, make, make_tiled

from ad_jax import cli
from ad_jax.errors import InputError

# What a user without this package writes; README has the same lines.
ALONE = """
import sys
import jax, jax.export, numpy as np

file = np.load(sys.argv[1])
scores_of = jax.export.deserialize(bytearray(file["program"])).call
out = {}
for name, batch in np.load(sys.argv[2]).items():
    scores = np.asarray(scores_of(batch))
    above = len(file["held_out"]) - np.searchsorted(file["held_out"], scores, side="left")
    out[name] = scores
    out[name + "_p"] = (1 + above) / (len(file["held_out"]) + 1)
    out[name + "_flag"] = scores > file["threshold"]
np.savez(sys.argv[3], **out)
foreign = {"ad_jax", "flax", "optax", "PIL", "sklearn", "safetensors"} & set(sys.modules)
assert not foreign, foreign
"""


@pytest.mark.parametrize(
    ("detector", "shape"), [(make, (16, 16, 1)), (make_tiled, LARGE)], ids=["whole", "tiles"]
)
def test_scores_without_the_package(detector, shape, tmp_path):
    """Of any number of samples, equal to rounding: 1e-4 of a score."""
    one = detector().set_params(alpha=0.1)
    path = tmp_path / "detector.npz"
    one.export(path)
    batches = {f"n{n}": images(n, shape, n, high=200) for n in (1, 2, 19)}
    np.savez(tmp_path / "in.npz", **batches)
    arguments = [path, tmp_path / "in.npz", tmp_path / "out.npz"]
    subprocess.run([sys.executable, "-c", ALONE, *map(str, arguments)], check=True, cwd=tmp_path)
    with np.load(tmp_path / "out.npz") as out:
        for name, batch in batches.items():
            scores = one.decision_function(batch)
            np.testing.assert_allclose(out[name], scores, rtol=1e-4, atol=1e-4)
            apart = np.abs(scores[:, None] - one.calibration_.scores).min(1) > 1e-3
            np.testing.assert_allclose(out[f"{name}_p"][apart], one.p_values(batch)[apart])
            np.testing.assert_array_equal(out[f"{name}_flag"][apart], one.predict(batch)[apart])


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
