"""The program between others: interrupts, pipes, locales and devices, in processes of their own."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from PIL import Image
from small_detector import images, make

from ad_jax import cli
from ad_jax.cli import streams
from ad_jax.detect import Loading

PROGRAM = [  # an interrupt counts, also where these tests are started with it ignored
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "import sys; from ad_jax.cli import main; sys.exit(main())",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A detector with heatmaps, and pictures of names in several alphabets."""
    root = tmp_path_factory.mktemp("streams")
    one = make().set_params(alpha=0.1)
    one.loading = Loading("pad")
    one.fit_localiser(images(40), "texture").save(root / "detector")
    (root / "pictures").mkdir()
    for name, image in zip(("a", "größe ✓", "c"), images(3, seed=5), strict=True):
        Image.fromarray(image[..., 0]).save(root / "pictures" / f"{name}.png")
    return root


def started(arguments, folder, **options):
    """The program at work; killed after two minutes, so that what waits in vain fails."""
    process = subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **options},
        text=True,
        encoding="utf-8",
        **{name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")},
    )
    watch = threading.Timer(120, process.kill)
    watch.daemon = True
    watch.start()
    return process


def interrupted(process):
    """What it still said on stdout and stderr; its input stays open until it has ended."""
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    return process.communicate()


def told(lines):
    """What stands on stderr beside progress."""
    return [line for line in lines.splitlines() if not line.startswith(("  ", "training set"))]


def test_rows_appear_before_the_input_ends_and_an_interrupt_is_one_line(folder):
    process = started(["score", "detector", "-"], folder)
    for number, name in enumerate(("a", "c")):
        process.stdin.write(f"pictures/{name}.png\n")
        process.stdin.flush()
        if not number:
            assert process.stdout.readline() == "path,score,p_value,flag\n"
        assert process.stdout.readline().startswith(f"pictures/{name}.png,")
    out, error = interrupted(process)
    assert process.returncode == 130 and out == ""
    assert len(told(error)) == 1 and told(error)[0].startswith("ad-jax: interrupted")


def test_without_stderr_nothing_else_stands_in_the_table(folder):
    command = ["score", "detector", "pictures/a.png"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *PROGRAM, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == ["path", "pictures/a.png"]


def test_an_interrupt_ends_a_compilation_and_leaves_nothing_half_written(folder):
    arguments = [
        "select",
        "digits",
        "--out",
        "run",
        "--width",
        "8",
        "--families",
        "binary/cutpaste",
    ]
    process = started(arguments, folder)
    begun = iter(process.stderr.readline, "")
    assert any(line.startswith("training set") for line in begun)  # what follows is compiled
    _, error = interrupted(process)
    assert process.returncode == 130
    assert [line[:19] for line in told(error)] == ["ad-jax: interrupted"]
    assert not [path for path in (folder / "run").rglob(".*")]


def test_an_interrupted_output_file_leaves_no_trace(folder):
    process = started(["score", "detector", "-", "--out", "new/scores.csv"], folder)
    process.stdin.write("nowhere.png\n")
    process.stdin.flush()
    assert "nowhere.png: no such file" in process.stderr.readline()
    assert len(list((folder / "new").iterdir())) == 1
    interrupted(process)
    assert process.returncode == 130 and list((folder / "new").iterdir()) == []


def test_a_reader_that_leaves_is_no_error(folder):
    process = started(["score", "detector", "-"], folder)
    process.stdin.write("pictures/a.png\n")
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, error = process.communicate("pictures/c.png\n" * 1000, timeout=120)
    assert process.returncode == 141 and told(error) == []


def test_names_and_overlays_are_written_whatever_the_locale(folder):
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    arguments = ["score", "detector", "pictures", "--heatmaps", "maps"]
    process = started(arguments, folder, **ascii_only)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    names = [line.partition(",")[0] for line in out.splitlines()[1:]]
    assert names == [f"pictures/{name}.png" for name in ("a", "c", "größe ✓")]
    assert {path.name for path in (folder / "maps").iterdir()} == {
        *("a.png.png", "c.png.png", "größe ✓.png.png", "scale.png")
    }


@pytest.mark.parametrize(
    "arguments", [["score", "detector", "pictures"], ["select", "digits", "--out", "none"]]
)
def test_devices_that_are_not_there_are_no_damage(folder, arguments):
    process = started(arguments, folder, JAX_PLATFORMS="cuda,no_such")
    out, error = process.communicate(timeout=120)
    assert process.returncode == 2 and out == "" and not (folder / "none").exists()
    (line,) = error.splitlines()
    assert "JAX_PLATFORMS=cuda,no_such" in line and "take JAX_PLATFORMS=cpu" in line
    assert "damaged" not in line


def test_a_switch_of_jax_that_stops_it_is_named(folder):
    process = started(["score", "detector", "pictures"], folder, JAX_NUMPY_DTYPE_PROMOTION="strict")
    _, error = process.communicate(timeout=120)
    (line,) = error.splitlines()
    assert process.returncode == 1 and "JAX_NUMPY_DTYPE_PROMOTION=strict" in line
    assert "damaged" not in line and "TypePromotionError" in line


def test_a_fault_of_this_library_keeps_its_traceback(folder, monkeypatch):
    def broken(arguments):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("ad_jax.cli.detector.info", broken)
    monkeypatch.setattr("ad_jax.base.devices.check_backend", lambda: None)
    with pytest.raises(ZeroDivisionError, match="ours"):
        cli.main(["info", str(folder / "detector")])


@pytest.mark.parametrize(("raised", "status"), [(KeyboardInterrupt, 130), (BrokenPipeError, 141)])
def test_interrupts_and_pipes_have_their_status_in_python_too(raised, status, monkeypatch, capsys):
    def stopped(arguments):
        raise raised

    monkeypatch.setattr("ad_jax.cli.detector.info", stopped)
    assert cli.main(["info", "nowhere"]) == status
    assert len(capsys.readouterr().err.splitlines()) == (status == 130)


def test_an_ignored_interrupt_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        streams.end_on_interrupt("never said", 130)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
