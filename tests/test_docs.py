"""The documentation: every example runs and prints what the page shows; the site builds."""

import subprocess
import sys
import zlib
from pathlib import Path

import jax
import pytest
from markdown_examples import commands, differences, examples, furnish, run

import ad_jax
from ad_jax import cli
from ad_jax.selection import rules

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {
    str(path.relative_to(DOCS)): path
    for path in sorted(DOCS.rglob("*.md"))
    if "_build" not in path.parts
}
WITH_EXAMPLES = [name for name, path in PAGES.items() if examples(path.read_text(), "python", "sh")]


@pytest.fixture
def as_at_home():
    """Optimised programs."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.examples
@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name, tmp_path, monkeypatch, as_at_home):
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AD_JAX_DATA", raising=False)
    namespace = {"__name__": "example"}
    for example in examples(PAGES[name].read_text(), "python", "sh"):
        printed = run(example, namespace, PAGES[name])
        if example.shown is not None:
            found = "\n".join(differences(example.shown, printed))
            assert not found, f"{PAGES[name]}:{example.line} prints otherwise\n{found}"


def test_commands_parse():
    parser = cli.parser()
    for name, path in PAGES.items():
        for arguments in commands(path.read_text()):
            assert parser.parse_args([a for a in arguments if a[0] != "$"]), name


def test_every_rule_is_explained():
    page = PAGES["guide/rules.md"].read_text()
    assert all(f"`{name.removeprefix('calibrated_')}`" in page for name in rules.RULES)


@pytest.mark.examples
def test_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="the extra `docs` is not installed")
    built = tmp_path / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(built)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    inventory = (built / "objects.inv").read_bytes().split(b"\n", 4)[4]
    documented = {line.split()[0] for line in zlib.decompress(inventory).decode().splitlines()}
    homes = {f"{home}.{name}" for name, home in ad_jax._HOMES.items()}
    assert homes | set(ad_jax.ROOMS.values()) <= documented
