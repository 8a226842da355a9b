"""What trust says after halving, on pools whose truth is known.

Scores are drawn; nothing is trained, and no labels are opened. Prints

1. nine equally good settings: how often trust says high, medium and low when all are trained, when
   the best by the final scores alone is left of them, and after halving, whose early scores are
   correlated (.9 from stage to stage) with those that come later;
2. target and held-out normals that are alike (the null holds): how often its p-value is at most
   .05 without halving and after halving, by the number of settings, by the share of a score's
   variance that all settings have in common, and by the correlation from stage to stage. Seeds
   share their held-out normals, which is the hardest case: their p-values depend on each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ad_jax.pool import Member, Pool, View
from ad_jax.selection import rules
from ad_jax.selection.search import STAGES, stage_sizes
from ad_jax.selection.trust import RARE, null, trust
from ad_jax.selection.weights import weights
from ad_jax.train.setting import Setting
from experiments.result import Cell, Result, Table
from experiments.study import Options, Study

TARGET, HELD_OUT, SEEDS = 120, 60, 3
ANOMALIES, STRENGTH = 0.3, 2.0  # of the nine equally good settings
CORRELATION = 0.9  # of a member's noise from stage to stage
OF_SETTING = 0.9  # of what samples do not have in common: the same for all seeds of a setting


def staged(
    count: int,
    common: float,
    correlation: float,
    generator: np.random.Generator,
    shift: np.ndarray,
) -> np.ndarray:
    """Scores at the end of every stage `[stages, members, target and held-out normals]`.

    Of a score's variance the share `common` is the sample's, the same for all settings; of the rest
    `OF_SETTING` is the same for all seeds of a setting. Members are ordered by setting.
    """
    samples = TARGET + HELD_OUT

    def walk(*shape: int) -> np.ndarray:
        """Standard normal at every stage, correlated from one to the next."""
        out = [generator.normal(size=shape)]
        for _ in range(STAGES - 1):
            new = generator.normal(size=shape)
            out.append(correlation * out[-1] + np.sqrt(1 - correlation**2) * new)
        return np.stack(out)

    of_setting = np.repeat(walk(count, samples), SEEDS, axis=1)
    of_member = walk(count * SEEDS, samples)
    of_sample = generator.normal(size=samples)
    of_both = np.sqrt(OF_SETTING) * of_setting + np.sqrt(1 - OF_SETTING) * of_member
    return np.sqrt(common) * of_sample + np.sqrt(1 - common) * of_both + shift


def pool_of(scores: np.ndarray, stopped: np.ndarray) -> Pool:
    """A pool of scores `[members, samples]`, some of whose settings `[settings]` were stopped."""
    members = tuple(
        Member(
            Setting("external", f"setting {i}", {}, 0.0, 0.0, 0.0),
            seed,
            "stopped" if stopped[i] else "ok",
            *3 * [float("nan")],
        )
        for i in range(len(stopped))
        for seed in range(SEEDS)
    )
    return Pool(
        members,
        View(scores[:, None, :TARGET]),
        View(scores[:, None, TARGET:]),
        np.zeros(len(members), int),
    )


def halved(scores: np.ndarray) -> Pool:
    """What halving leaves: every setting at its last stage, the best ones at the end."""
    last = scores[0].copy()
    alive = np.arange(len(last) // SEEDS)
    stopped = np.zeros(len(alive), bool)
    for stage, keep in zip(scores[1:], stage_sizes("halving", len(alive))[1:], strict=True):
        pool = pool_of(last, stopped)
        losses = np.array(list(rules.losses(pool, rules.DEFAULT).values()))
        alive = alive[np.argsort(losses[alive], kind="stable")][:keep]
        stopped[:] = True
        stopped[alive] = False
        rows = np.repeat(~stopped, SEEDS)
        last[rows] = stage[rows]
    return pool_of(last, stopped)


def verdict(pool: Pool) -> str:
    """Of trust in the default rule's pick."""
    per_member = rules.get(rules.DEFAULT).loss(pool)
    losses = rules.by_setting(pool, per_member)
    pick = min(pool.settings, key=lambda s: losses[s.key])
    return trust(pool, rules.DEFAULT, per_member, losses, pick, weights(pool)).verdict


def verdicts(settings: int, draws: int) -> dict[str, Counter[str]]:
    """How often trust says what of equally good settings, by how they were searched."""
    out: dict[str, Counter[str]] = {}
    shift = STRENGTH * (np.arange(TARGET + HELD_OUT) < ANOMALIES * TARGET)
    nobody = np.zeros(settings, bool)
    for draw in range(draws):
        generator = np.random.default_rng(draw)
        scores = staged(settings, 0.0, CORRELATION, generator, shift)
        whole = pool_of(scores[-1], nobody)
        losses = list(rules.losses(whole, rules.DEFAULT).values())
        alone = ~nobody
        alone[int(np.argmin(losses))] = False
        for name, pool in (
            ("all trained to the end", whole),
            ("the best by the final scores left", pool_of(scores[-1], alone)),
            ("halving", halved(scores)),
        ):
            out.setdefault(name, Counter())[verdict(pool)] += 1
    return out


def rejected(
    settings: int, common: float, correlation: float, trials: int, permutations: int
) -> tuple[float, float]:
    """Share of trials with p <= `RARE` where the null holds: all trained, and halved."""
    values = []
    nothing = np.zeros(TARGET + HELD_OUT)
    for trial in range(trials):
        generator = np.random.default_rng([settings, trial])
        scores = staged(settings, common, correlation, generator, nothing)
        pools = pool_of(scores[-1], np.zeros(settings, bool)), halved(scores)
        values.append([null(pool, trial, permutations) <= RARE for pool in pools])
    whole, after = np.mean(values, axis=0)
    return float(whole), float(after)


def report(
    draws: int, tried: Sequence[int], equal: Sequence[int], trials: int, permutations: int
) -> Result:
    words = ("high", "medium", "low")
    blocks: list[Table | str] = []
    for settings in equal:
        found = verdicts(settings, draws)
        rows: list[list[Cell]] = [
            [name, *(counts[word] for word in words)] for name, counts in found.items()
        ]
        title = f"\nVerdicts on {settings} equally good settings, {draws} draws"
        blocks += [title, Table(["", *words], rows)]
    error = np.sqrt(RARE * (1 - RARE) / trials)
    lines: list[list[Cell]] = []
    cases = [(settings, CORRELATION) for settings in tried]
    for settings, correlation in [*cases, (tried[0], 0.5), (tried[0], 1.0)]:
        left = stage_sizes("halving", settings)[-1]
        for common in (0.0, 0.3, 0.7):
            shares = rejected(settings, common, correlation, trials, permutations)
            lines.append([settings, left, correlation, common, *shares])
    header = ["settings", "left", "stage to stage", "in common", "all trained", "halving"]
    return Result(
        [
            *blocks,
            f"\nShare of {trials} trials with p <= {RARE} where target and held-out normals are "
            f"alike (standard error at {RARE}: {error:.3f})",
            Table(header, lines),
        ]
    )


def result(options: Options) -> Result:
    if options.smoke:
        return report(2, (4,), (4,), 2, 19)
    return report(40, (18, 45, 90), (9, 18), 150, 199)


STUDY = Study(result)
