"""README's first Python example runs, and the commands it names exist."""

from pathlib import Path

from markdown_examples import commands, examples, run

from ad_jax import cli

PAGE = Path(__file__).parent.parent / "README.md"
README = PAGE.read_text()


def test_first_example_runs():
    assert "6 held-out normals" in run(examples(README, "python")[0], {}, PAGE)


def test_commands_parse():
    parser = cli.parser()
    assert commands(README)
    for arguments in commands(README):
        parser.parse_args(arguments)
