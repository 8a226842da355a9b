"""README's first Python example runs, and the commands it names exist."""

import re
from pathlib import Path

from ad_jax import cli, rules

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_first_example_runs(capsys):
    exec(re.findall(r"```python\n(.*?)```", README, re.S)[0], {})
    assert "6 held-out normals" in capsys.readouterr().out


def test_commands_parse():
    parser = cli.parser()
    named = "select|preview|tune|audit|report|rules|status|merge|score|info|export"
    for line in re.findall(rf"(?:^|/)ad-jax ((?:{named}) [^#\n]*)", README, re.M):
        parser.parse_args(line.split("&&")[0].split())


def test_every_rule_is_named():
    named = set(re.findall(r"`([a-z_]+)`", README))
    assert {r for r in rules.RULES if not r.startswith("calibrated_")} <= named
