"""The command from end to end: files, audit, firewall, resume, and every kind of bad input."""

import csv
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

from ad_jax import cli
from ad_jax.cli import common, demo, select
from ad_jax.pool import sweep
from ad_jax.selection import rules
from ad_jax.store import Record, files, keep_compilations, places

CONFIGS = Path(__file__).parents[1] / "experiments" / "configs"
SMALL = ["--steps", "8", "--width", "8", "--seeds", "1", "--areas", ".05,.2"]


def images(folder, count, seed, high=128):
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(generator.integers(0, high, (20, 20), np.uint8)).save(folder / f"{i}.png")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("source")
    images(root / "train" / "good", 16, 0)
    images(root / "test" / "good", 6, 1)
    images(root / "test" / "scratch", 6, 2, high=255)
    return root


@pytest.fixture(scope="module")
def run(source, tmp_path_factory, relaxed):
    out = tmp_path_factory.mktemp("runs") / "run"
    assert cli.main(["select", f"{source},size=16", "--out", str(out), *SMALL]) == 0
    return out


def test_the_folder_holds_what_others_rely_on(run):
    names = {p.name for p in run.iterdir()}
    expected = {"manifest.json", "members.csv", "scores.npz", "samples.csv", "pick.json"}
    assert expected | {"detector", "record"} <= names
    with open(run / "members.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(run / "scores.npz") as file:
        assert file["scores"].shape[0] == len(rows)
        assert file["pick"].shape == (12,)
        assert file["generated"].shape == file["held_out"].shape
    pick = json.loads((run / "pick.json").read_text())
    assert all(rows[i]["pretext"] == pick["setting"]["pretext"] for i in pick["members"])
    assert json.loads((run / "manifest.json").read_text())["label_access"] == []


def test_deep_images_are_selected_on_and_their_range_is_kept(tmp_path, relaxed, capsys):
    generator = np.random.default_rng(0)
    for part, count in (("train", 16), ("target", 6)):
        (tmp_path / "deep" / part).mkdir(parents=True)
        for i in range(count):
            pixels = generator.integers(0, 4096, (16, 16), np.uint16)
            Image.fromarray(pixels).save(tmp_path / "deep" / part / f"{i}.png")
    command = ["select", f"{tmp_path / 'deep'},size=16", "--out", str(tmp_path / "run"), *SMALL]
    assert cli.main(command) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "range=" in line]
    assert len(said) == 1 and said[0].startswith("ad-jax: ") and "range=0-4095" in said[0]
    about = json.loads((tmp_path / "run" / "detector" / "detector.json").read_text())
    assert about["loading"] == {"fit": "stretch", "range": [0.0, 4095.0]}
    shutil.copytree(tmp_path / "deep", tmp_path / "darker")
    for file in (tmp_path / "darker").rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(file)) // np.uint16(8)).save(file)
    second = ["--second", f"{tmp_path / 'darker'},size=16"]
    assert cli.main([*command, *second]) == 2
    assert "range=0-1023 and" in capsys.readouterr().err


def test_select_works_where_the_environment_asks_for_double_precision(source, tmp_path):
    arguments = ["select", f"{source},size=16", "--out", str(tmp_path / "run"), *SMALL]
    arguments += ["--families", "binary/cutpaste", "--areas", ".05"]
    code = (
        "from ad_jax import Config, cli\n"
        "Config.__new__.__defaults__ = (*Config()[:4], 9.0, -1.0)\n"
        f"raise SystemExit(cli.main({arguments}))"
    )
    asked = {"JAX_ENABLE_X64": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "run" / "scores.npz") as scores:
        assert scores["scores"].dtype == np.float32 and np.isfinite(scores["pick"]).all()


def test_audit_reads_labels_and_says_so(run, capsys):
    assert cli.main(["audit", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["tasks"]
    (one,) = result.values()
    assert one["share"] == 0.5
    assert 0.0 <= one["across"]["worst"] <= one["across"]["expected_random"]
    assert one["across"]["expected_random"] <= one["across"]["oracle"] <= 1.0
    assert one["baselines"]["mean brightness"] == 1.0
    assert len(json.loads((run / "manifest.json").read_text())["label_access"]) == 1
    assert cli.main(["audit", str(run)]) == 0
    assert "Labels were opened" in capsys.readouterr().out


def test_a_target_chosen_by_kind_is_in_the_log_of_the_run_from_the_start(run, source, tmp_path):
    def openings():
        return [reason for _, reason in json.loads(path.read_text())["label_access"]]

    path = tmp_path / "manifest.json"
    kept = ["--record", str(run / "record")]  # the trainings are there
    chosen = f"{source},size=16,kind=scratch"
    assert cli.main(["select", chosen, "--out", str(tmp_path), *kept, *SMALL]) == 0
    assert [reason.partition(":")[0] for reason in openings()] == ["kind=scratch"]
    assert cli.main(["audit", str(tmp_path)]) == 0  # loads the source again
    assert [reason.partition(":")[0] for reason in openings()] == ["kind=scratch", "audit"]
    assert cli.main(["select", chosen, "--out", str(tmp_path), *kept, *SMALL]) == 0
    assert [reason.partition(":")[0] for reason in openings()] == ["kind=scratch", "audit"]


def test_labels_from_a_file_give_the_same(run, source, tmp_path, capsys):
    with open(run / "samples.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    path = tmp_path / "labels.csv"
    lines = [f"{name},{int('scratch' in name)}" for name in names]
    path.write_text("\n".join(["name,label", *lines]))
    results = []
    for extra in ([], ["--labels", str(path)]):
        assert cli.main(["audit", str(run), "--json", *extra]) == 0
        (one,) = json.loads(capsys.readouterr().out)["tasks"].values()
        results.append({k: v for k, v in one.items() if k != "log"})
    assert results[0] == results[1]
    path.write_text("name,label\n" + "\n".join(lines[1:]))
    assert cli.main(["audit", str(run), "--labels", str(path)]) == 2


def test_labels_change_no_bit(run, source, tmp_path, relaxed):
    """Class folders renamed and files moved between them: every label-free output is the same."""
    other = tmp_path / "other"
    shutil.copytree(source, other)
    (other / "test" / "scratch").rename(other / "test" / "zebra")
    (other / "test" / "good" / "3.png").rename(other / "test" / "zebra" / "moved.png")
    out = tmp_path / "out"
    assert cli.main(["select", f"{other},size=16", "--out", str(out), *SMALL]) == 0
    assert (out / "pick.json").read_bytes() == (run / "pick.json").read_bytes()
    first, second = np.load(run / "scores.npz"), np.load(out / "scores.npz")
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name])
    for name in ("arrays.safetensors", "detector.json"):
        assert (out / "detector" / name).read_bytes() == (run / "detector" / name).read_bytes()


def test_rerun_skips_what_is_done(run, source, capsys, relaxed):
    assert cli.main(["select", f"{source},size=16", "--out", str(run), *SMALL]) == 0
    assert "4 from the record" in capsys.readouterr().err
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["cost"]["skipped"] == manifest["cost"]["total"]


def test_changed_data_or_training_is_refused(run, source, tmp_path, capsys):
    assert cli.main(["select", f"{source},size=18", "--out", str(run), *SMALL]) == 2
    assert "other data" in capsys.readouterr().err
    changed = [*SMALL[:1], "9", *SMALL[2:]]
    assert cli.main(["select", f"{source},size=16", "--out", str(run), *changed]) == 2
    assert "choose another --out" in capsys.readouterr().err


def test_dry_run_tells_the_cost_and_writes_nothing(source, tmp_path, capsys):
    arguments = ["select", f"{source},size=16", "--out", str(tmp_path / "x"), "--dry-run", "--json"]
    assert cli.main([*arguments, *SMALL]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert cost["members"] == 4 and cost["compilations"] == 2
    assert cost["minutes"] > 0 and cost["memory_mb"] > 850.0  # compiling alone takes as much
    assert not (tmp_path / "x").exists()


def test_a_plan_is_what_status_counts_by_and_trains_nothing(source, tmp_path, capsys):
    out = tmp_path / "x"
    arguments = ["select", f"{source},size=16", "--out", str(out), "--plan", "--json"]
    assert cli.main([*arguments, *SMALL]) == 0
    assert json.loads(capsys.readouterr().out)["members"] == 4
    assert [path.name for path in out.iterdir()] == ["plan.json"]
    assert cli.main(["status", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["total"], told["done"], told["left"]) == (4, 0, 4)


def test_preview_draws_a_sheet(source, tmp_path):
    assert cli.main(["preview", f"{source},size=16", "--out", str(tmp_path)]) == 0
    with Image.open(tmp_path / "preview.png") as sheet:
        assert min(sheet.size) > 300
        assert len(set(np.asarray(sheet.convert("L")).ravel().tolist())) > 20


def config_file(tmp_path, body):
    path = tmp_path / "config.py"
    path.write_text(f"from ml_collections import ConfigDict\ndef get_config(a=''):\n    {body}\n")
    return str(path)


@pytest.mark.parametrize(
    "part", ["brick", "gravel", "bottle", "cookie", "tile", "fashion", "digits"]
)
def test_development_configs_read(part):
    arguments = cli.parser().parse_args(
        ["select", "--config", f"experiments/configs/development.py:{part}"]
    )
    choices = common.choices_of(arguments)
    assert choices["sources"] and choices["areas"] is None  # all eight


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_configs_are_found_from_anywhere(path, tmp_path):
    """A command has its own folder on Python's path, not the project's."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    code = f"import runpy; runpy.run_path({str(path)!r})"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr


BAD = {
    "missing folder": (["select", "nowhere"], "nowhere"),
    "unknown option": (["select", "digits,colour=red"], "colour"),
    "unknown rule": (["select", "digits", "--rule", "best"], "best"),
    "zero steps": (["select", "digits", "--steps", "0"], "steps=0"),
    "zero seeds": (["select", "digits", "--seeds", "0"], "seeds=0"),
    "odd width": (["select", "digits", "--width", "9"], "width=9"),
    "no strengths": (["select", "digits", "--strengths", "0"], "strengths=0"),
    "area out of range": (["select", "digits", "--areas", "7"], "area=7"),
    "unknown family": (["select", "digits", "--families", "binary/cutpast"], "cutpast"),
    "unknown pretext": (["select", "digits", "--families", "bnary/cutpaste"], "bnary"),
    "kinds of one": (["select", "digits", "--families", "kinds/cutpaste"], "cutpaste_scar"),
    "colour on grey": (["select", "digits", "--families", "binary/hue"], "no settings"),
    "unknown search": (["select", "digits", "--search", "best"], "best"),
    "unknown network": (["select", "digits", "--backbone", "vgg"], "vgg"),
    "no draws": (["select", "digits", "--random", "0"], "random=0"),
    "unknown generator": (["select", "planted:cutpast,base=digits"], "cutpast"),
    "unknown data set": (["select", "tfds:minst"], "minst"),
    "image too small": (["select", "digits,size=8"], "16 px"),
    "nothing to descend": (["tune", "digits", "--augmentation", "pixel_mask"], "cutdiff"),
    "no gradient": (["tune", "digits", "--augmentation", "rotate", "--tune", "angel"], "angle"),
    "unknown outer": (["tune", "digits", "--outer", "dvs_code"], "dsv_code"),
    "unknown estimator": (["tune", "digits", "--estimator", "magic"], "first_order"),
    "no gradient of the outer loss": (
        ["tune", "digits", "--estimator", "first_order"],
        "calibrated_dsv_uncapped",
    ),
    "no outer steps": (["tune", "digits", "--outer-steps", "0"], "outer_steps=0"),
    "reversed bounds": (["tune", "digits", "--bounds", "area=0.3:0.1"], "reversed"),
    "half a bound": (["tune", "digits", "--bounds", "area=0.3"], "LOW:HIGH"),
    "no value": (["tune", "digits", "--fix", "area"], "NAME=VALUE"),
    "start outside": (["tune", "digits", "--start", "area=3"], "out of range"),
    "no final steps": (["tune", "digits", "--steps", "0"], "steps=0"),
    "no final seeds": (["tune", "digits", "--seeds", "0"], "seeds=0"),
    "start of words": (["tune", "digits", "--start", "area=big"], "no number"),
    "shard of none": (["select", "digits", "--shard", "0/4"], "1/4"),
    "shard too many": (["select", "digits", "--shard", "5/4"], "5/4"),
    "shard of words": (["select", "digits", "--shard", "a/b"], "a/b"),
    "shard of starts": (["tune", "digits", "--shard", "3/2"], "3/2"),
    "half a shard": (["select", "digits", "--shard", "2"], "I/N"),
    "shard of halving": (
        ["select", "digits", "--shard", "1/2", "--search", "halving"],
        "--search halving",
    ),
    "no bucket": (["select", "digits", "--record", "ftp://a/b"], "gs://"),
    "no run": (["audit", "nowhere"], "nowhere"),
    "no config": (["select", "--config", "nowhere.py"], "nowhere.py"),
    "a seed beyond 32 bits": (["select", "digits", "--seed", "4294967296"], "seed=4294967296"),
    "a negative seed": (["tune", "digits", "--seed", "-1"], "seed=-1"),
    "a seed of a sheet beyond 32 bits": (["preview", "digits", "--seed", "4294967296"], "--seed"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_use_is_one_line_and_status_two(case, tmp_path, capsys):
    arguments, word = BAD[case]
    out = ["--out", str(tmp_path / "out")] if arguments[0] != "audit" else []
    assert cli.main([*arguments, *out]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ad-jax:")]
    assert len(error) == 1 and word in error[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.whole
def test_tune_writes_a_run_that_audit_reads(source, tmp_path, capsys, relaxed):
    out = tmp_path / "tuned"
    few = ["--outer-steps", "2", "--horizon", "2", "--warm-up", "2", "--batch", "8"]
    small = ["--starts", "1", "--tune", "area", *SMALL[:6]]
    arguments = ["tune", f"{source},size=16", "--out", str(out), *few, *small]
    assert cli.main([*arguments, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training_steps"] == 6
    assert cli.main([*arguments, "--shard", "1/1", "--json"]) == 0
    told = capsys.readouterr()
    assert "step 2/2; with loss" in told.err and json.loads(told.out) == {"shard": "1/1", "left": 0}
    assert not (out / "tuned.json").exists()
    assert cli.main([*arguments, "--json"]) == 0
    told = capsys.readouterr()
    assert "loss" not in told.err  # gathered from the record
    result = json.loads(told.out)
    about = json.loads((out / "tuned.json").read_text())
    assert about["hyper"] == result["hyper"] and len(about["starts"]) == 1
    with open(out / "trajectory.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1"] and float(rows[0]["area"]) > 0
    with Image.open(out / "tuning.png") as picture:
        assert picture.size[0] > 500
    assert cli.main(["audit", str(out), "--json"]) == 0
    audit = next(iter(json.loads(capsys.readouterr().out)["tasks"].values()))
    assert audit["pick"]["setting"].startswith("binary/cutdiff")


CONFIGS = {
    "return ConfigDict({'stepps': 3})": "stepps",
    "return [1]": "returns a list",
    "return None": "returns a NoneType",
    "raise KeyError('nothing here')": "raises KeyError: 'nothing here'",
    "import no_such_module": "raises ModuleNotFoundError",
    "return": "returns a NoneType",
    "return {'steps': 'many'}": "steps='many'",
    "return {'steps': True}": "steps=True",
    "return {'sources': 'digits'}": "sources='digits'",
    "return {'areas': ['wide']}": "areas='wide'",
    "return {'root': 2**32}": "seed=4294967296",
    "return {'backbone': 3}": "backbone=3",
    "return (": "raises SyntaxError",
    "raise SystemExit('two\\nlines')": "raises SystemExit: two lines",
    "return ConfigDict({'sources': []})": "sources is empty",
    "return {1: 2, 'b': 3}": "unknown field 1",
    "return type('C', (), {'to_dict': lambda self: 1 // 0})()": "raises ZeroDivisionError",
}


@pytest.mark.parametrize("body", CONFIGS)
def test_a_config_that_cannot_be_used_is_one_line(body, tmp_path, capsys):
    assert cli.main(["select", "--config", config_file(tmp_path, body)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert CONFIGS[body] in line


def test_a_config_that_is_no_config_is_one_line(tmp_path, capsys):
    for name, text, word in (
        ("config.txt", "steps: 3", "no Python file"),
        ("config.yaml", "", "no Python file"),
        ("empty.py", "", "no function get_config"),
        ("constant.py", "get_config = 3", "no function get_config"),
    ):
        (tmp_path / name).write_text(text)
        assert cli.main(["select", "--config", str(tmp_path / name)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert word in line and name in line


def test_what_a_config_prints_is_no_part_of_the_result(source, tmp_path, capsys):
    body = f"print('hello'); return dict(sources=[{str(source) + ',size=16'!r}])"
    arguments = ["select", "--config", config_file(tmp_path, body), *SMALL, "--dry-run", "--json"]
    assert cli.main([*arguments, "--families", "binary/cutpaste"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["members"] == 2 and "hello" in told.err


@pytest.mark.parametrize("text", ["{}", "[1]", '{"name": "web", "fingerprint": null}'])
def test_a_manifest_of_another_program_is_left_alone(text, source, tmp_path, capsys):
    (tmp_path / "manifest.json").write_text(text)
    arguments = ["select", f"{source},size=16", *SMALL, "--dry-run", "--out", str(tmp_path)]
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is no run's" in line and (tmp_path / "manifest.json").read_text() == text


STARTS = {
    "a variable that JAX cannot read": (
        ValueError("invalid truth value 'maybe' for environment 'JAX_ENABLE_X64'"),
        "JAX_ENABLE_X64=maybe cannot be used",
    ),
    "memory": (MemoryError("Unable to allocate 23 TiB"), "out of memory: Unable to allocate"),
}


@pytest.mark.parametrize("case", STARTS)
def test_what_stops_the_machinery_is_one_line(case, monkeypatch, capsys):
    error, word = STARTS[case]

    def start():
        raise error

    monkeypatch.setattr("ad_jax.store.keep_compilations", start)
    monkeypatch.setenv("JAX_ENABLE_X64", "maybe")
    assert cli.main(["select", "digits"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ad-jax: {word}")


def test_a_user_without_a_home_has_no_cache_of_programs(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    monkeypatch.chdir(tmp_path)
    keep_compilations()
    assert not list(tmp_path.iterdir())


def test_small_programs_are_kept_too(monkeypatch, tmp_path):
    """A command has hundreds of them; JAX alone keeps what takes a second to compile."""
    settings = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in settings}
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    try:
        keep_compilations()
        compilation_cache.reset_cache()
        jax.jit(lambda x: x * 17.0 + 4.0)(jnp.ones(3))
        kept = list((tmp_path / "ad_jax").glob("jit__lambda*-cache"))
        assert kept
        for path in kept:  # as another process finds them that reads while this one writes
            path.write_bytes(path.read_bytes()[:40])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            keep_compilations()
            assert jax.jit(lambda x: x * 17.0 + 4.0)(jnp.ones(3)).tolist() == [21.0] * 3
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def test_a_tilde_that_the_shell_left_is_the_home(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    arguments = ["select", f"{source},size=16", *SMALL, "--plan", "--out=~/run"]
    assert cli.main([*arguments, "--families", "binary/cutpaste"]) == 0
    assert (tmp_path / "home" / "run" / "plan.json").is_file() and not (tmp_path / "~").exists()


def refused(word):
    raise AssertionError(f"{word} is no JSON")


def strict(text):
    """What a parser makes of it that knows no NaN."""
    return json.loads(text, parse_constant=refused)


@pytest.mark.whole
def test_every_json_is_read_by_strict_parsers(run, source, tmp_path, capsys, relaxed):
    again = ["select", f"{source},size=16", "--out", str(run), *SMALL]
    for command in (
        [*again, "--json"],  # all of it from the record: nothing ran, so nothing is left to say of
        [*again, "--dry-run", "--json"],
        ["audit", str(run), "--splits", "2", "--json"],
        ["status", str(run), "--json"],
        ["info", str(run), "--json"],
        ["preview", f"{source},size=16", "--out", str(tmp_path), "--json"],
        ["merge", str(run), "--into", str(tmp_path / "joined"), "--json"],
    ):
        assert cli.main(command) == 0, command
        assert strict(capsys.readouterr().out)
    assert cli.main(["score", str(run), str(source / "test"), "--alpha", ".5", "--json"]) == 0
    assert all(map(strict, capsys.readouterr().out.splitlines()))
    assert cli.main(["report", str(run), "--format", "json", "--out", str(tmp_path)]) == 0
    files = [tmp_path / "report.json", *run.rglob("*.json"), *run.rglob("*.jsonl")]
    assert {"manifest.json", "pick.json", "plan.json", "detector.json"} <= {p.name for p in files}
    for path in files:
        for text in (
            path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        ):
            assert strict(text)
    assert json.loads((run / "manifest.json").read_text())["cost"]["left"] is None


def test_select_says_which_false_positive_rates_are_attainable(run, source, capsys, relaxed):
    again = ["select", f"{source},size=16", "--out", str(run), *SMALL, "--json"]
    assert cli.main([*again, "--verbose"]) == 0
    told = capsys.readouterr()
    (result,) = json.loads(told.out)
    assert result["smallest_alpha"] == 0.2  # four of 16 normals are held out by one seed
    assert "trust in" in told.err and all(x in told.err for x in result["trust"]["reasons"])
    (line,) = [line for line in told.err.splitlines() if "attainable" in line]
    assert "with 4 held-out normals" in line and "from 0.2 on" in line and "needs 19" in line
    for alpha, status in (("0.2", 0), ("0.19", 2)):
        assert cli.main(["score", str(run), str(source / "test"), "--alpha", alpha]) == status


def test_a_selection_ends_with_one_screen(run, source, tmp_path, capsys, relaxed):
    kept = ["--record", str(run / "record"), *SMALL]
    out, chosen = tmp_path / "run", f"{source},size=16"
    assert cli.main(["select", chosen, "--out", str(out), *kept]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    pick = json.loads((out / "pick.json").read_text())
    assert len(lines) <= 24
    assert all(len(x) <= 80 for x in lines if str(tmp_path) not in x and str(source) not in x)
    for part in (
        "the ensemble of 4 settings: the largest weights are",
        f"{pick['setting']['pretext']}/{pick['setting']['augmentation']}",
        f"trust in it     {pick['trust']['verdict']}: ",
        "with 4 held-out normals",
        "pick.json",
    ):
        assert part in told.out
    assert "against it" not in told.out + told.err
    commands = [x.strip().split("  ")[0] for x in lines if x.startswith("  ad-jax ")]
    assert [shlex.split(x)[1:3] for x in commands] == [
        ["score", str(out)],
        ["report", str(out)],
        ["audit", str(out)],
    ]
    for command in commands:
        cli.parser().parse_args(shlex.split(command)[1:])
    both = ["select", chosen, f"{chosen},kind=scratch", "--out", str(out.parent / "two"), *kept]
    assert cli.main(both) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    assert [x.splitlines()[0] for x in blocks[:2]] == [chosen, f"{chosen},kind=scratch"]
    assert len(blocks) == 3 and f"ad-jax audit {out.parent / 'two'}  " in blocks[2]


def test_the_demo_selects_audits_and_reports(run, source, tmp_path, capsys, monkeypatch, relaxed):
    given = (f"{source},size=16", *SMALL, "--record", str(run / "record"))
    monkeypatch.setattr(demo, "DEFAULT_SOURCES", given)
    monkeypatch.setattr(demo, "FEW", ())
    assert cli.main(["demo", "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr()
    *_, picture, report = told.out.splitlines()
    assert picture == f"picture: {tmp_path / 'run' / 'audit.png'}"
    assert report.startswith(f"report:  {tmp_path / 'run' / 'report.html'}")
    assert (tmp_path / "run" / "audit.png").is_file()
    page = (tmp_path / "run" / "report.html").read_text()
    assert "AUROC" in page and "<h4>most anomalous</h4>" in page and "data:image/png" in page
    typed = [x.split()[2] for x in told.err.splitlines() if x.startswith("$ ad-jax ")]
    assert typed == ["select", "audit", "report"]
    assert cli.main(["demo", "--out", str(tmp_path / "run"), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"report", "picture"}


def test_audit_finds_its_source_from_another_folder(source, tmp_path, capsys, relaxed, monkeypatch):
    shutil.copytree(source, tmp_path / "here" / "parts")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert cli.main(["select", "parts,size=16", "--out", str(tmp_path / "run"), *SMALL]) == 0
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["source"] == "parts"
    audits = []
    for place in ("here", "elsewhere", "other data of that name"):
        monkeypatch.chdir(tmp_path / "here" if place == "here" else elsewhere)
        if place.startswith("other"):
            images(elsewhere / "parts" / "train" / "good", 16, 7)
            images(elsewhere / "parts" / "test" / "good", 6, 8)
        capsys.readouterr()
        assert cli.main(["audit", str(tmp_path / "run"), "--splits", "2", "--json"]) == 0
        (one,) = json.loads(capsys.readouterr().out)["tasks"].values()
        audits.append({k: v for k, v in one.items() if k != "log"})
    assert audits[0] == audits[1] == audits[2]
    shutil.rmtree(tmp_path / "here")
    assert cli.main(["audit", str(tmp_path / "run")]) == 2
    assert "has changed since the run" in capsys.readouterr().err


def test_files_that_may_not_be_read_are_not_called_damaged(run, monkeypatch, capsys):
    for name in ("manifest.json", "scores.npz", "plan.json"):

        def denied(path, *arguments, real=io.open, name=name, **options):
            if str(path).endswith(name):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(io, "open", denied)  # what pathlib opens by
            patch.setattr("builtins.open", denied)
            command = "status" if name == "plan.json" else "audit"
            assert cli.main([command, str(run)]) == 1
        error = capsys.readouterr().err
        assert f"{run / name}: Permission denied" in error and "rerun" not in error


@pytest.fixture
def rows(tmp_path):
    path, generator = tmp_path / "rows.npz", np.random.default_rng(0)
    np.savez(path, train=generator.uniform(size=(40, 6)), target=generator.uniform(size=(20, 6)))
    return str(path)


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["select", "ROWS", "--backbone", "mlp"], "binary/quarter_turns needs images"),
        (["select", "ROWS", "--backbone", "mlp", "--random", "3"], "gaussian_noise"),
        (["select", "ROWS", "--backbone", "mlp", "--families", "wide", "--dry-run"], ""),
        (["tune", "ROWS", "--backbone", "mlp"], "cutdiff needs images"),
    ],
)
def test_rows_are_taken_by_families_that_fit_and_refused_in_one_line(
    rows, command, word, tmp_path, capsys
):
    arguments = [rows if one == "ROWS" else one for one in command]
    status = cli.main([*arguments, "--out", str(tmp_path / "out")])
    told = capsys.readouterr()
    assert status == (2 if word else 0) and not (tmp_path / "out").exists()
    if word:
        (line,) = told.err.splitlines()
        assert word in line
    else:
        assert ": 24 trainings" in told.out  # noise, brightness: four strengths, three seeds


def test_bad_images_are_named(source, tmp_path, capsys):
    root = tmp_path / "bad"
    shutil.copytree(source, root)
    (root / "train" / "good" / "empty.png").write_bytes(b"")
    (root / "train" / "good" / "text.png").write_text("no picture")
    out = str(tmp_path / "out")
    assert cli.main(["select", f"{root},size=16", "--out", out, "--dry-run", *SMALL]) == 2
    error = capsys.readouterr().err
    assert "empty.png" in error and "text.png" in error
    skipping = ["select", f"{root},size=16", "--skip-bad", "--out", out, "--dry-run", *SMALL]
    assert cli.main(skipping) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "empty.png" in line]
    assert line.startswith("ad-jax: 2 of 30 images") and line.endswith("skipped")


def test_a_run_with_fewer_members_than_scores_is_refused(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "members.csv").write_text("pretext,augmentation\n")
    assert cli.main(["report", str(copy)]) == 2
    assert "is damaged (0 members for" in capsys.readouterr().err


def test_damaged_run_is_refused(run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "scores.npz").write_bytes(b"PK not a zip")
    assert cli.main(["audit", str(copy)]) == 2
    assert "damaged" in capsys.readouterr().err
    (copy / "manifest.json").write_text("{")
    assert cli.main(["audit", str(copy)]) == 2


def test_changed_source_is_refused_by_audit(run, source, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["fingerprint"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert cli.main(["audit", str(copy)]) == 2
    assert "has changed" in capsys.readouterr().err


def test_folder_names_keep_paths_in_options_apart():
    names = [select.slug(f"planted:blur,base=/data/{part},size=32") for part in ("a", "b")]
    assert names == ["planted-blur-base=a-size=32", "planted-blur-base=b-size=32"]
    assert select.slug("/data/parts/bottle/,size=32") == "bottle-size=32"


def test_runs_can_share_a_record(run, source, tmp_path, capsys, relaxed):
    out = str(tmp_path / "other")
    arguments = ["select", f"{source},size=16", "--out", out, "--record", str(run / "record")]
    assert cli.main([*arguments, *SMALL]) == 0
    assert "4 from the record" in capsys.readouterr().err


def test_status_of_a_finished_run(run, capsys):
    assert cli.main(["status", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["done"] == told["total"] == 4 and told["left"] == told["failed"] == 0
    assert told["rate"] > 0 and told["minutes_left"] == 0
    assert cli.main(["status", str(run)]) == 0
    assert "4 of 4 members done" in capsys.readouterr().out
    assert cli.main(["status", str(run / "record")]) == 2
    assert "plan.json" in capsys.readouterr().err


def test_status_while_a_run_goes_on(run, tmp_path, capsys):
    """Half of the chunks are there, one member raised, a worker wrote just now."""
    shutil.copytree(run, tmp_path / "run")
    sorted((tmp_path / "run" / "record").glob("*.safetensors"))[0].unlink()
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    record = Record(tmp_path / "run" / "record")
    missing = [keys[0] for keys in plan["members"] if not record.has(keys[0])]
    record.fail(missing[0], {"error": "no"})
    done = [keys[0] for keys in plan["members"] if record.has(keys[0])]
    record.log({"members": 2, "seconds": 4.0, "keys": done})
    assert cli.main(["status", str(tmp_path / "run"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["done"], told["failed"], told["left"]) == (len(done), 1, len(missing) - 1)
    assert told["workers"] >= 1 and told["rate"] > 0
    assert told["minutes_left"] is not None


def test_runs_are_merged(run, tmp_path, capsys):
    into = str(tmp_path / "joined")
    assert cli.main(["merge", str(run), str(run / "record"), "--into", into, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == told["known"] == 8 and told["damaged"] == 0
    assert cli.main(["merge", str(run), "--into", str(run / "record")]) == 2
    assert cli.main(["merge", str(tmp_path / "no"), "--into", into]) == 2
    assert "no finished chunk" in capsys.readouterr().err


def test_another_plan_in_the_folder_is_refused_before_a_manifest_is_there(run, tmp_path, capsys):
    folder = tmp_path / "begun"
    folder.mkdir()
    shutil.copy(run / "plan.json", folder)
    text = next(iter(json.loads((run / "plan.json").read_text())["problems"]))
    arguments = ["select", text, "--out", str(folder), "--width", "8", "--seeds", "1"]
    assert cli.main([*arguments, "--steps", "9"]) == 2
    said = capsys.readouterr().err
    assert "'steps': 8" in said and "steps': 9" in said and "choose another --out" in said
    other = text.replace("size=16", "size=18")
    assert cli.main(["select", other, *arguments[2:], "--steps", "8"]) == 2
    assert "other data" in capsys.readouterr().err
    (folder / "plan.json").write_text('{"format": 9}')
    assert cli.main([*arguments, "--steps", "8"]) == 2
    assert "newer ad_jax (format 9" in capsys.readouterr().err


def test_members_that_raised_are_status_one(run, source, tmp_path, capsys, monkeypatch):
    def broken(self, *arguments):
        raise RuntimeError("device lost")

    monkeypatch.setattr(sweep.Sweep, "_run", broken)
    out = str(tmp_path / "out")
    assert cli.main(["select", f"{source},size=16", "--out", out, *SMALL]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ad-jax:")]
    assert len(said) == 1 and "4 of 4 members failed" in said[0] and "same command" in said[0]
    assert cli.main(["status", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["failed"] == 4
    shared = ["--record", str(run / "record")]  # where the same members are done
    assert cli.main(["select", f"{source},size=16", "--out", out, *SMALL, *shared]) == 0


def _said(capsys):
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("ad-jax:")]
    return line


def test_disks_and_versions_are_one_line(run, source, tmp_path, capsys, monkeypatch):
    """A full or read-only disk is status 1, a file of a newer version status 2; nothing is lost."""
    copy = tmp_path / "record"
    shutil.copytree(run / "record", copy)
    before = {p: p.read_bytes() for p in copy.glob("*.safetensors")}
    arguments = ["select", f"{source},size=16", "--out", str(tmp_path / "out"), *SMALL]
    arguments += ["--record", str(copy)]
    for number, text in ((30, "Read-only file system"), (28, "No space left on device")):

        def refuse(*arguments, number=number, text=text, **more):
            raise OSError(number, text)

        with monkeypatch.context() as patch:
            patch.setattr(places, "open", refuse, raising=False)
            assert cli.main(arguments) == 1
        said = _said(capsys)
        assert text in said and str(tmp_path) in said
    with monkeypatch.context() as patch:
        patch.setattr(files, "FORMAT", 9)
        Record(copy).put({"f" * 24: {"x": np.zeros(3)}})
    assert cli.main(arguments) == 2
    said = _said(capsys)
    assert "newer ad_jax (format 9" in said and str(copy) in said
    assert {p: p.read_bytes() for p in before} == before


def test_a_shard_picks_nothing_and_a_select_gathers(run, source, tmp_path, capsys, relaxed):
    out = tmp_path / "out"
    arguments = ["select", f"{source},size=16", "--out", str(out), *SMALL]
    arguments += ["--record", str(run / "record")]
    assert cli.main([*arguments, "--shard", "2/2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"shard": "2/2", "left": 0}
    assert {p.name for p in out.iterdir()} == {"plan.json"}
    assert cli.main(arguments) == 0
    assert "4 from the record" in capsys.readouterr().err
    assert (out / "pick.json").read_bytes() == (run / "pick.json").read_bytes()


def label_free(folder):
    """Bytes of everything in a run that labels must not touch."""
    left_out = {"manifest.json", "audit.png"}
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in left_out]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_permuted_labels_change_no_value_no_pick_and_no_verdict(run, tmp_path, capsys):
    """Labels reach the audit's own figures only; members.csv and pick.json stay as they are."""
    before = label_free(run)
    assert {"members.csv", "pick.json", "scores.npz"} <= set(before)
    header = before["members.csv"].split(b"\r\n")[0].decode().split(",")
    served = {name for name, rule in rules.RULES.items() if rule.needs != "seeds"}  # one seed here
    assert {f"loss.{name}" for name in served} <= set(header)
    assert "trust" in json.loads(before["pick.json"])
    with open(run / "samples.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    told = set()
    for seed in range(3):
        labels = np.random.default_rng(seed).permutation(np.arange(len(names)) % 2)
        path = tmp_path / "labels.csv"
        path.write_text("\n".join(["name,label", *map("{},{}".format, names, labels)]))
        assert cli.main(["audit", str(run), "--json", "--labels", str(path)]) == 0
        told.add(capsys.readouterr().out)
        assert label_free(run) == before
    assert len(told) == 3  # the audit did see them


def test_audit_writes_its_picture_and_says_where(run, tmp_path, capsys):
    assert cli.main(["audit", str(run), "--splits", "5", "--full"]) == 0
    said = capsys.readouterr().out
    assert "best of k settings" in said and f"picture: {run / 'audit.png'}" in said
    with Image.open(run / "audit.png") as image:
        assert min(image.size) > 1000
        assert len(set(np.asarray(image.convert("L")).ravel().tolist())) > 20
    elsewhere = tmp_path / "new" / "a.png"
    arguments = ["audit", str(run), "--json", "--picture", str(elsewhere), "--splits", "5"]
    outs = []
    for extra in ([], [], ["--seed", "1"]):
        assert cli.main([*arguments, *extra]) == 0
        (one,) = json.loads(capsys.readouterr().out)["tasks"].values()
        outs.append(one["snooping"])
    assert elsewhere.is_file()
    assert outs[0] == outs[1] != outs[2]
    assert {"stages", "thresholds", "curve", "halves", "notes"} <= set(outs[0])
    assert {"name", "apparent", "honest", "inflation", "choices"} <= set(outs[0]["stages"][0])


@pytest.mark.parametrize(
    ("extra", "word"), [(["--picture", "a.png"], "one file"), (["--splits", "0"], "--splits 0")]
)
def test_audit_options_are_checked(run, extra, word, tmp_path, capsys):
    again = shutil.copytree(run, tmp_path / "again")
    assert cli.main(["audit", str(run), str(again), *extra]) == 2
    assert word in capsys.readouterr().err


def test_several_runs_are_summarised(run, tmp_path, capsys):
    again = shutil.copytree(run, tmp_path / "again")
    given = [str(run), str(again), str(run)]  # the same folder twice is one run
    assert cli.main(["audit", *given, "--splits", "5", "--full"]) == 0
    assert "Snooping, all: means of 2 tasks of 1 training sets" in capsys.readouterr().out
    apart = ["--apart", "again"]
    assert cli.main(["audit", *given, "--splits", "5", *apart]) == 0
    *runs, said = capsys.readouterr().out.split("\n\n")
    assert said.startswith("all: 2 tasks of 1 training sets")
    assert said.endswith(
        f"all of it: {shlex.join(['ad-jax', 'audit', *given, '--splits', '5', *apart, '--full'])}\n"
    )
    assert len(said.splitlines()) <= 40 and sum(x.count("picture: ") for x in runs) == 2


def test_an_audit_fits_a_screen_and_names_the_rest(run, capsys):
    arguments = ["audit", str(run), "--splits", "5"]
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert cli.main([*arguments, "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["tasks"].values()
    assert (
        len(lines) <= 40 and lines[-1] == f"all of it: {shlex.join(['ad-jax', *arguments])} --full"
    )
    assert all(len(x) <= 80 for x in lines if not x.startswith(("picture:", "all of it:")))
    figures = {
        "best setting, in hindsight": one["across"]["oracle"],
        "a random setting": one["across"]["expected_random"],
        "worst setting": one["across"]["worst"],
        "best control": max(v for k, v in one["baselines"].items() if "brightness" not in k),
        "best trivial baseline: mean brightness": 1.0,
    }
    for name, auroc in figures.items():
        (line,) = [x for x in lines if x.startswith(name)]
        assert f" {auroc:.3f} " in line
    stage = one["snooping"]["stages"][-1]
    said = " ".join(lines)
    honest = f"and {stage['honest']:.3f} on others"
    assert f"{stage['apparent']:.3f} on the samples whose labels chose, {honest}" in said
    assert cli.main([*arguments, "--full"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 60
