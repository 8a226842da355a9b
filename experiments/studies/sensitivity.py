"""How much do alignment losses hang on what is rarely stated: stage, norm, distance, draws, size?

Takes the trained networks of the shelf's runs from their record and measures alignment again, one
choice changed at a time:

- embedding: the pooled last stage (as published), every earlier stage, all stages together;
- norm: unit length (as published), as it comes, standardised by the training embeddings;
- distance: Euclidean (as published), squared;
- draws: other draws of the augmentation, and four draws of every normal instead of one;
- alpha: how much the augmented set weighs, .25 and .75 (as published: .5);
- size: a half and a quarter of the target, mean of ten draws;
- cap and factor: the three forms of DSV are rules of their own.

For every variant and loss: in which share of the tasks the pick changes, the mean regret, and the
gain (picks minus expected random over oracle minus expected random). The variant as published is
checked against the run's own losses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ad_jax import alignment, augment
from ad_jax.alignment import Parts
from ad_jax.base.errors import InputError
from ad_jax.data import load
from ad_jax.detect.look import EMBED_BLOCK
from ad_jax.evaluate import Scope, audit_run, gain
from ad_jax.pool import Pool, View, program
from ad_jax.runs import plan
from ad_jax.selection import rules
from ad_jax.train import pretexts as pretext
from ad_jax.train.backbones import as_unit
from ad_jax.train.pretexts import augment_all
from ad_jax.train.setting import Setting
from ad_jax.train.trainer import seed_keys
from experiments.result import Cell, Result, Table
from experiments.study import PARTS, SHELF, Options, Study, shelf
from experiments.tasks import folders_below

LOSSES = (
    "dsv_code",
    "dsv_uncapped",
    "dsv_formula",
    "calibrated_dsv_code",
    "calibrated_dsv_uncapped",
    "discordance",
    "separability_uncapped",
    "calibrated_separability_uncapped",
)
ON_SCORES = ("tail_share", "auroc_held_out", "tail_and_auroc", "several_tails")
PUBLISHED = "as published"
SIZES = (0.5, 0.25)
DRAWS = 10  # subsets of the target
Losses = dict[str, dict[str, float]]  # loss -> setting key -> value
Sets = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # train, augmented, target, held out


def distances(x: np.ndarray, y: np.ndarray, squared: bool) -> np.ndarray:
    """Halved Euclidean distances `[n, m]`, or their squares."""
    square = np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2.0 * x @ y.T, 0.0) / 4.0
    return square if squared else np.sqrt(square)


def parts(
    train: np.ndarray, augmented: np.ndarray, target: np.ndarray, squared: bool = False
) -> Parts:
    """`alignment.parts` of embeddings as they are given, by either distance."""
    near, far = distances(target, train, squared), distances(target, augmented, squared)
    directions = augmented - train.mean(0)
    directions = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    on = (target - train.mean(0)) @ directions.T
    return Parts(
        near.mean(1),
        far.mean(1),
        (near**2).mean(1),
        (far**2).mean(1),
        on.mean(1),
        (on**2).mean(1),
        distances(augmented, train, squared).mean(),
    )


def unit(z: np.ndarray) -> np.ndarray:
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)


def standardised(sets: Sets) -> Sets:
    mean, spread = sets[0].mean(0), np.maximum(sets[0].std(0), 1e-6)
    train, augmented, target, held_out = ((z - mean) / spread for z in sets)
    return train, augmented, target, held_out


def pair(sets: Sets, squared: bool = False) -> tuple[Parts, Parts]:
    """Parts of the target and of held-out normals."""
    train, augmented, target, held_out = sets
    return parts(train, augmented, target, squared), parts(train, augmented, held_out, squared)


class Networks:
    """Trained networks of one run, from its record."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.problem, _ = load(manifest["source"], **manifest["options"])
        self.ledger = plan.ledger(folder, manifest)
        self.config = self.ledger.config
        self._compiled: dict[tuple[str, str], tuple[Callable, Callable, Any]] = {}

    def _functions(self, name: str, augmentation: str) -> tuple[Callable, Callable, Any]:
        if (name, augmentation) not in self._compiled:
            self._compiled[name, augmentation] = self._compile(name, augmentation)
        return self._compiled[name, augmentation]

    def _compile(self, name: str, augmentation: str) -> tuple[Callable, Callable, Any]:
        backbone = program.network(
            self.config, self.problem.shape, pretext.make(name, augmentation)
        )
        flat, unravel = ravel_pytree(backbone.init(jax.random.key(0)))
        entry = augment.get(augmentation)

        @jax.jit
        def embed(params: jax.Array, samples: jax.Array) -> tuple[jax.Array, ...]:
            outputs = backbone.apply(unravel(params), as_unit(samples))
            pooled = [m.mean((1, 2)) if m.ndim == 4 else m for m in outputs.stages[:-1]]
            return outputs.embedding, *pooled

        @jax.jit
        def draw(key: jax.Array, packed: jax.Array, samples: jax.Array) -> jax.Array:
            seen = as_unit(samples)
            return augment_all(
                lambda k, s, d: entry.pseudo(k, entry.space.unpack(packed), s, d),
                *(key, seen, jnp.roll(seen, 1, axis=0)),
            ).sample

        return embed, draw, entry

    def looks(self, setting: Setting, seed: int) -> Iterator[tuple[str, tuple[Parts, Parts]]]:
        """Every variant's parts of one member."""
        row = self.ledger.get((setting, seed), self.config.steps, False)
        if row is None:
            raise InputError(f"{setting.label}, seed {seed} is not in the record; select again")
        embed, draw, entry = self._functions(setting.pretext, setting.augmentation)
        packed = entry.space.pack(setting.hyper, augment.packed_length((setting.augmentation,)))
        fold = self.problem.split(seed)
        key = jax.random.split(seed_keys(self.config.root, seed).evaluation)[0]

        def stages(samples: np.ndarray) -> list[np.ndarray]:
            size = EMBED_BLOCK
            blocks = [
                embed(row.made["params"], jnp.asarray(samples[i : i + size]))
                for i in range(0, len(samples), size)
            ]
            return [np.concatenate(stage).astype(np.float64) for stage in zip(*blocks, strict=True)]

        def made(index: int) -> np.ndarray:
            own = jax.random.fold_in(key, index) if index else key
            return np.asarray(draw(own, packed, jnp.asarray(fold.train)))

        seen = [stages(s) for s in (fold.train, made(0), self.problem.target, fold.held_out)]
        last: Sets = tuple(one[0] for one in seen)  # type: ignore[assignment]
        normal: Sets = tuple(map(unit, last))  # type: ignore[assignment]
        yield PUBLISHED, pair(normal)
        for i in range(1, len(seen[0])):
            yield f"stage {i}", pair(tuple(unit(one[i]) for one in seen))  # type: ignore[arg-type]
        joined = tuple(np.concatenate([unit(z) for z in one], axis=1) for one in seen)
        yield "all stages", pair(joined)  # type: ignore[arg-type]
        yield "norm as it comes", pair(last)
        yield "standardised", pair(standardised(last))
        yield "squared distance", pair(normal, squared=True)
        others = [unit(stages(made(i))[0]) for i in (1, 2, 3)]
        yield "another draw", pair((normal[0], others[0], *normal[2:]))
        four = np.concatenate([normal[1], *others])
        yield "four draws", pair((normal[0], four, *normal[2:]))


def stacked(some: list[Parts]) -> Parts:
    return Parts(*(np.stack(field) for field in zip(*some, strict=True)))  # type: ignore[arg-type]


def reweighted(pool: Pool, alpha: float) -> Losses:
    """DSV with another weight of the augmented set."""

    def loss(form: str, part: Parts) -> np.ndarray:
        one = jax.vmap(lambda p: alignment.dsv_from_parts(p, form, alpha).loss)
        return np.asarray(one(jax.tree.map(jnp.asarray, part)))

    out = {}
    for form in alignment.FORMS:
        own = loss(form, pool.target.alignment["parts"])
        out[f"dsv_{form}"] = rules.by_setting(pool, own)
        calibrated = own - loss(form, pool.held_out.alignment["parts"])
        out[f"calibrated_dsv_{form}"] = rules.by_setting(pool, calibrated)
    return {name: value for name, value in out.items() if name in LOSSES}


def variants(pool: Pool, networks: Networks) -> Iterator[tuple[str, Losses]]:
    """Every variant's losses; those of several draws come several times."""
    looks: dict[str, list[tuple[Parts, Parts]]] = {}
    for member in pool.members:
        for name, found in networks.looks(member.setting, member.seed):
            looks.setdefault(name, []).append(found)
    pools = {
        name: dataclasses.replace(
            pool,
            target=View(pool.scores, {"parts": stacked([f[0] for f in found])}),
            held_out=View(pool.held_out_scores, {"parts": stacked([f[1] for f in found])}),
        )
        for name, found in looks.items()
    }
    for name, one in pools.items():
        yield name, {loss: rules.losses(one, loss) for loss in LOSSES}
    own = pools[PUBLISHED]
    for alpha in (0.25, 0.75):
        yield f"alpha {alpha}", reweighted(own, alpha)
    yield PUBLISHED, {loss: rules.losses(own, loss) for loss in ON_SCORES}
    generator = np.random.default_rng(0)
    count, held_out = pool.scores.shape[-1], np.arange(pool.held_out_scores.shape[-1])
    for size in SIZES:
        for _ in range(DRAWS):
            rows = generator.permutation(count)[: max(4, round(size * count))]
            some = own.take(rows, held_out)
            yield f"{size:g} of the target", {n: rules.losses(some, n) for n in LOSSES + ON_SCORES}


def check(
    found: dict[str, dict[str, float]], of_run: dict[str, dict[str, float]], at: Path
) -> None:
    """Refuses to go on where the variant as published is not what the run measured."""
    for loss in LOSSES:
        for key, value in found[loss].items():
            if not np.isclose(value, of_run[loss][key], rtol=0.02, atol=0.02, equal_nan=True):
                raise InputError(
                    f"{at}: {loss} is {value:.4f} measured again and {of_run[loss][key]:.4f} in "
                    "the run; select again with this version"
                )


class Judged(NamedTuple):
    """A task: AUROC of the pick and whether it changed, means over draws, by (variant, loss)."""

    scope: Scope
    picks: dict[tuple[str, str], tuple[float, float]]


def judged(folder: Path) -> Judged:
    audited, one = audit_run(folder, "sensitivity study")
    scope = audited.across
    auroc = dict(zip(scope.settings, scope.auroc, strict=True))
    trained = [i for i, m in enumerate(one.pool.members) if m.setting.pretext != "control"]
    pool = dataclasses.replace(
        one.pool,
        members=tuple(one.pool.members[i] for i in trained),
        target=View(one.pool.scores[trained]),
        held_out=View(one.pool.held_out_scores[trained]),
        default_head=one.pool.default_head[trained],
        generated=None,
    )
    first: dict[str, str] = {}
    here: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    for name, losses in variants(pool, Networks(folder, one.manifest)):
        if name == PUBLISHED and LOSSES[0] in losses:
            check(losses, one.losses, folder)
        for loss, by_key in losses.items():
            best = min(scope.settings, key=lambda key: by_key[key])
            first.setdefault(loss, best)
            here.setdefault((name, loss), []).append((auroc[best], best != first[loss]))
    means = {key: np.mean(draws, axis=0) for key, draws in here.items()}
    return Judged(scope, {key: (float(v), float(c)) for key, (v, c) in means.items()})


def table(tasks: Sequence[Judged]) -> Result:
    rows: list[list[Cell]] = []
    for name, loss in dict.fromkeys(key for task in tasks for key in task.picks):
        own = [task.scope for task in tasks if (name, loss) in task.picks]
        found = [task.picks[name, loss] for task in tasks if (name, loss) in task.picks]
        values, changed = [value for value, _ in found], [change for _, change in found]
        regret = np.mean([s.oracle - v for s, v in zip(own, values, strict=True)])
        share = float(np.mean(changed))
        rows.append([loss, name, len(own), share, float(regret), gain(own, values)])
    rows.sort(key=lambda row: (LOSSES + ON_SCORES).index(str(row[0])))
    oracle = float(np.mean([task.scope.oracle for task in tasks]))
    random = float(np.mean([task.scope.expected_random for task in tasks]))
    title = (
        f"{len(tasks)} tasks, across families; AUROC of the oracle {oracle:.3f}, expected of a "
        f"random setting {random:.3f}"
    )
    header = ["loss", "variant", "tasks", "pick changes", "mean regret", "gain"]
    return Result([title, Table(header, rows)])


def result(options: Options) -> Result:
    return table([judged(folder) for folder in folders_below(options.runs)])


STUDY = Study(result, runs=(SHELF,), needs=shelf(*PARTS), reported=True)
