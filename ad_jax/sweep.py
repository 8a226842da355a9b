"""Train and measure many members as a few compiled programs.

One program per pretext and shape trains a chunk of members and returns their scores and alignment
parts: train -> embed -> align -> score, no host round trip. All problems that share a training set
share its trainings. On CPU the members of a chunk run one after another inside the program
(`lax.map`: bit-equal for any chunk); on accelerators side by side (`vmap`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ad_jax import alignment, ranks, scores
from ad_jax import augment as augmentations
from ad_jax import pretext as pretexts
from ad_jax.alignment import Parts
from ad_jax.backbone import BACKBONES, Backbone, Outputs
from ad_jax.data import Problem
from ad_jax.errors import InputError
from ad_jax.numerics import rowwise
from ad_jax.pool import HEADS, Member, Pool, Setting
from ad_jax.pretext import Pretext
from ad_jax.store import Record, digest
from ad_jax.train import Hyper, Keys, as_unit, make_train, seed_keys

CHUNK = 4  # members a program run; small, so that progress shows and a kill costs little
CHANCE_LOSS = 0.97  # of log(classes): above it a member is called untrained
CHANCE_AUROC = 0.55  # of held-out normals against their augmentations: below it, too
EMBED_BLOCK = 256


class Config(NamedTuple):
    """Static choices of a sweep: another value is another compiled program.

    Attributes:
      steps: training steps per member.
      width: channels of the encoder's first stage.
      backbone: name of the network.
      root: root of all random keys.
    """

    steps: int = 800
    width: int = 24
    backbone: str = "encoder"
    root: int = 0


class Progress(NamedTuple):
    """Where a sweep stands; given to `report` after every chunk."""

    done: int
    total: int
    skipped: int
    seconds: float
    compile_seconds: float
    compilations: int
    left: float


class Measured(NamedTuple):
    """What the program returns per member."""

    params: jax.Array  # [p] flattened
    mean: jax.Array  # [d] of the Gaussian density of the training embeddings
    precision: jax.Array  # [d, d]
    train_loss: jax.Array
    discrimination: jax.Array
    scores: jax.Array  # [heads, n]
    held_out_scores: jax.Array  # [heads, m]
    parts: Parts
    held_out_parts: Parts
    mmd: jax.Array  # [problems]
    held_out_mmd: jax.Array


class Trained(NamedTuple):
    """What a detector needs of one member."""

    params: np.ndarray  # [p] flattened
    mean: np.ndarray  # [d]
    precision: np.ndarray  # [d, d]


class Chunk(NamedTuple):
    """Members of one family that run together."""

    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]


def network(config: Config, shape: tuple[int, ...], classes: int) -> Backbone:
    """The backbone of a config.

    Raises:
      InputError: an unknown name or a shape it cannot take.
    """
    if config.backbone not in BACKBONES:
        raise InputError(f"no backbone {config.backbone!r}; known: {', '.join(BACKBONES)}")
    return BACKBONES[config.backbone](shape, classes, config.width)


def embed(
    backbone: Backbone, params: Any, pretext: Pretext, samples: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Embedding `[n, d]` and logits of all views `[n, v, classes]`, in bounded memory.

    The first view of every pretext is the sample itself: its embedding is the sample's.
    """

    def block(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        views = jax.vmap(pretext.views)(as_unit(rows))  # [b, v, h, w, c]
        count = views.shape[1]
        outputs: Outputs = backbone.apply(params, views.reshape(-1, *views.shape[2:]))
        return (
            outputs.embedding.reshape(-1, count, outputs.embedding.shape[-1])[:, 0],
            outputs.logits.reshape(-1, count, outputs.logits.shape[-1]),
        )

    return rowwise(block, samples, EMBED_BLOCK)


def head_scores(
    pretext: Pretext,
    density: scores.Density,
    z_train: jax.Array,
    embedding: jax.Array,
    logits: jax.Array,
) -> jax.Array:
    """Scores `[heads, n]` of one member, in the order of `HEADS`."""
    return jnp.stack(
        [
            scores.score_density(density, embedding),
            scores.score_neighbour(z_train, embedding),
            pretext.head(logits),
        ]
    )


def make_member(
    config: Config, shape: tuple[int, ...], pretext: Pretext, families: tuple[str, ...]
) -> Callable[..., Measured]:
    """`(keys, hyper, train, held_out, target, weights [problems, n]) -> Measured`."""
    backbone = network(config, shape, pretext.classes)

    def augment(hyper: Hyper, key: jax.Array, sample: jax.Array, donor: jax.Array) -> jax.Array:
        return augmentations.switch(families, hyper.family, key, hyper.augmentation, sample, donor)[
            0
        ]

    trainer = make_train(backbone, pretext, augment)

    def member(
        keys: Keys,
        hyper: Hyper,
        train: jax.Array,
        held_out: jax.Array,
        target: jax.Array,
        weights: jax.Array,
    ) -> Measured:
        state, info = trainer.train(keys, hyper, train, config.steps)
        draw_train, draw_held_out = jax.random.split(keys.evaluation)

        def augmented(key: jax.Array, samples: jax.Array) -> jax.Array:
            keyed = jax.random.split(key, samples.shape[0])
            donors = jnp.roll(samples, 1, axis=0)

            def block(rows: jax.Array) -> jax.Array:
                one = lambda r: augment(hyper, keyed[r], as_unit(samples[r]), as_unit(donors[r]))  # noqa: E731
                return jax.vmap(one)(rows)

            return rowwise(block, jnp.arange(samples.shape[0]), EMBED_BLOCK)

        def look(samples: jax.Array) -> tuple[jax.Array, jax.Array]:
            return embed(backbone, state.params, pretext, samples)

        z_train, _ = look(train)
        density = scores.fit_density(z_train)
        z_augmented, _ = look(augmented(draw_train, train))
        z_held_out, held_out_logits = look(held_out)
        _, shifted_logits = look(augmented(draw_held_out, held_out))
        z_target, target_logits = look(target)
        return Measured(
            params=ravel_pytree(state.params)[0],
            mean=density.mean,
            precision=density.precision,
            train_loss=info.loss[-max(1, config.steps // 10) :].mean(),
            discrimination=ranks.auroc(
                pretext.normality(held_out_logits[:, 0]), pretext.normality(shifted_logits[:, 0])
            ),
            scores=head_scores(pretext, density, z_train, z_target, target_logits),
            held_out_scores=head_scores(pretext, density, z_train, z_held_out, held_out_logits),
            parts=alignment.parts(z_train, z_augmented, z_target),
            held_out_parts=alignment.parts(z_train, z_augmented, z_held_out),
            mmd=jax.vmap(lambda w: alignment.mmd(z_train, z_augmented, z_target, weights=w))(
                weights
            ),
            held_out_mmd=alignment.mmd(z_train, z_augmented, z_held_out),
        )

    return member


def make_program(
    config: Config, shape: tuple[int, ...], pretext: Pretext, families: tuple[str, ...]
) -> Callable[..., Measured]:
    """The same over a chunk: keys, hyper and folds carry a leading axis `[CHUNK]`.

    The family index is one number for the chunk, so its switch never runs two branches. Padding
    members (`valid` false) are skipped on CPU.
    """
    member = make_member(config, shape, pretext, families)

    def program(
        keys: Keys,
        hyper: Hyper,
        valid: jax.Array,
        fold: jax.Array,
        folds: tuple[jax.Array, jax.Array],
        target: jax.Array,
        weights: jax.Array,
    ) -> Measured:
        def one(arguments: tuple[Keys, Any, jax.Array, jax.Array]) -> Measured:
            own_keys, rest, own_valid, own_fold = arguments
            own = Hyper(hyper.family, *rest)
            train, held_out = folds[0][own_fold], folds[1][own_fold]

            def run() -> Measured:
                return member(own_keys, own, train, held_out, target, weights)

            def blank() -> Measured:
                return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(run))

            return jax.lax.cond(own_valid, run, blank)

        every = (keys, tuple(hyper)[1:], valid, fold)
        if jax.default_backend() == "cpu":
            return jax.lax.map(one, every)
        return jax.vmap(one)(every)

    return program


def chunks(settings: Sequence[Setting], seeds: Sequence[int]) -> list[Chunk]:
    """Members in the order of settings x seeds, cut into chunks of one family each."""
    out = []
    families = dict.fromkeys(s.family for s in settings)
    for family in families:
        members = [(s, seed) for s in settings if s.family == family for seed in seeds]
        for start in range(0, len(members), CHUNK):
            some = members[start : start + CHUNK]
            out.append(Chunk(tuple(m[0] for m in some), tuple(m[1] for m in some)))
    return out


class Union(NamedTuple):
    """The targets of several problems with one training set, every sample once."""

    target: np.ndarray  # [n, h, w, c]
    rows: tuple[np.ndarray, ...]  # per problem, its samples' rows in `target`


def union(problems: Sequence[Problem]) -> Union:
    """Joins the targets.

    Raises:
      InputError: problems whose normals differ.
    """
    if len({p.train_fingerprint for p in problems}) != 1:
        raise InputError("problems of one sweep must share their normals; sweep each by itself")
    place: dict[str, int] = {}
    kept: list[np.ndarray] = []
    rows = []
    for problem in problems:
        own = []
        for sample, name in zip(problem.target, problem.sample_hashes, strict=True):
            if name not in place:
                place[name] = len(kept)
                kept.append(sample)
            own.append(place[name])
        rows.append(np.array(own))
    return Union(np.stack(kept), tuple(rows))


def check_settings(settings: Sequence[Setting], shape: tuple[int, ...]) -> None:
    """Refuses settings that cannot run on samples of `shape`, before anything is trained."""
    if not settings:
        raise InputError("no settings to try; give at least one augmentation")
    for setting in settings:
        entry = augmentations.get(setting.augmentation)
        pretexts.make(setting.pretext, setting.augmentation)
        entry.check(setting.augmentation, setting.hyper, shape)
        if entry.views is not None and shape[0] != shape[1]:
            raise InputError(f"{setting.augmentation} needs square images, got {shape}")
        if not 0.0 < setting.learning_rate <= 1.0:
            raise InputError(f"learning_rate={setting.learning_rate} is out of range; take 1e-5..1")


def pack_chunk(chunk: Chunk, families: tuple[str, ...]) -> Hyper:
    """Hyperparameters of a chunk `[CHUNK, ...]`, padded with its first member's."""
    padded = list(chunk.settings) + [chunk.settings[0]] * (CHUNK - len(chunk.settings))
    entry = augmentations.CATALOGUE[chunk.settings[0].augmentation]
    return Hyper(
        jnp.int32(families.index(chunk.settings[0].augmentation)),
        jnp.stack([entry.pack(s.hyper, augmentations.PACKED) for s in padded]),
        *(
            jnp.array([getattr(s, name) for s in padded], jnp.float32)
            for name in ("learning_rate", "weight_decay", "jitter")
        ),
    )


def stacked_folds(problem: Problem, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray, dict]:
    """Every distinct fold once: train `[f, n, ...]`, held-out `[f, m, ...]`, and seed -> fold."""
    period = 1 if problem.held_out is not None else 4
    which = sorted({seed % period for seed in seeds})
    splits = [problem.split(fold) for fold in which]
    return (
        np.stack([split.train for split in splits]),
        np.stack([split.held_out for split in splits]),
        {seed: which.index(seed % period) for seed in seeds},
    )


def control_members(
    problem: Problem, target: np.ndarray, seeds: Sequence[int], config: Config
) -> tuple[list[Member], np.ndarray, np.ndarray]:
    """Control lines: raw pixels (nearest neighbour, principal components), untrained encoder.

    Returns:
      members, their scores `[members, 1, n]` and held-out scores `[members, 1, m]`.
    """
    pretext = pretexts.make("binary", "identity")
    backbone = network(config, problem.shape, pretext.classes)

    def pixels(samples: np.ndarray) -> jax.Array:
        return as_unit(jnp.asarray(samples)).reshape(len(samples), -1)

    def of_score(name: str) -> Callable[..., tuple[jax.Array, jax.Array]]:
        score = scores.SCORES[name]
        fit, measure = jax.jit(score.fit), jax.jit(score.score)  # compiled once for all seeds

        def run(seed: int, train: Any, held_out: Any, target: Any) -> tuple[jax.Array, jax.Array]:
            state = fit(pixels(train))
            return measure(state, pixels(target)), measure(state, pixels(held_out))

        return run

    init = jax.jit(backbone.init)
    look = jax.jit(lambda params, x: embed(backbone, params, pretext, x)[0])
    density = scores.SCORES["density"]
    fit_density, score_density = jax.jit(density.fit), jax.jit(density.score)

    def untrained(seed: int, train: Any, held_out: Any, target: Any) -> tuple[Any, Any]:
        params = init(seed_keys(config.root, seed).initialisation)
        state = fit_density(look(params, train))
        return tuple(score_density(state, look(params, x)) for x in (target, held_out))  # type: ignore[return-value]

    controls = {
        "raw_nearest_neighbour": of_score("neighbour"),
        "raw_principal_components": of_score("subspace"),
        "untrained_encoder": untrained,
    }
    members, target_scores, held_out_scores = [], [], []
    for name, run in controls.items():
        for seed in seeds:
            split = problem.split(seed)
            start = time.perf_counter()
            on_target, on_held_out = run(seed, split.train, split.held_out, target)
            target_scores.append(np.asarray(on_target)[None])
            held_out_scores.append(np.asarray(on_held_out)[None])
            members.append(
                Member(
                    Setting("control", name, {}, 0.0, 0.0, 0.0),
                    seed,
                    "ok",
                    float("nan"),
                    float("nan"),
                    time.perf_counter() - start,
                )
            )
    return members, np.stack(target_scores), np.stack(held_out_scores)


def status_of(loss: float, discrimination: float, classes: int, finite: bool) -> str:
    """Whether a member learned anything at all; see design, "Trained at all?"."""
    if not finite:
        return "failed"
    at_chance = loss > CHANCE_LOSS * float(np.log(classes)) or discrimination < CHANCE_AUROC
    return "untrained" if at_chance else "ok"


def sweep(
    problems: Sequence[Problem],
    settings: Sequence[Setting],
    seeds: Sequence[int],
    config: Config = Config(),
    record: Record | None = None,
    report: Callable[[Progress], None] | None = None,
) -> tuple[list[Pool], dict[str, Trained], Progress]:
    """Trains and measures all members; finished chunks are skipped.

    Args:
      problems: problems that share their normals; every training serves all of their targets.
      settings, seeds: the members are their product.
      config: static choices.
      record: where finished chunks are kept; None keeps nothing.
      report: called after every chunk.

    Returns:
      One pool per problem, what a detector needs of every member (key `Setting.key|seed`), and the
      final progress.

    Raises:
      InputError: problems or settings that cannot run.
    """
    if not seeds:
        raise InputError("no seeds; give at least one")
    shape = problems[0].shape
    check_settings(settings, shape)
    joined = union(problems)
    train, held_out, fold_of = stacked_folds(problems[0], seeds)
    weights = np.zeros((len(problems), len(joined.target)), np.float32)
    for i, rows in enumerate(joined.rows):
        np.add.at(weights[i], rows, 1.0 / len(rows))
    device = (jnp.asarray(train), jnp.asarray(held_out))
    target, weight_array = jnp.asarray(joined.target), jnp.asarray(weights)

    plan = chunks(settings, seeds)
    total = sum(len(chunk.seeds) for chunk in plan)
    compiled: dict[str, Any] = {}
    state = Progress(0, total, 0, 0.0, 0.0, 0, float("nan"))
    started = time.perf_counter()
    rows_of_results: list[tuple[Chunk, dict[str, np.ndarray]]] = []
    identity = {
        "config": config._asdict(),
        "train": problems[0].train_fingerprint,
        "targets": [p.fingerprint for p in problems],
    }
    for chunk in plan:
        name = chunk.settings[0].pretext
        families = tuple(dict.fromkeys(s.augmentation for s in settings if s.pretext == name))
        if name != "binary":  # such a program is of one family: its views are part of the network
            families = (chunk.settings[0].augmentation,)
        key = digest({**identity, "members": [[s.key, n] for s, n in zip(*chunk, strict=True)]})
        found = record.get(key) if record else None
        skipped = found is not None
        if found is None:
            pretext = pretexts.make(name, families[0])
            padding = CHUNK - len(chunk.seeds)
            padded = list(chunk.seeds) + [chunk.seeds[0]] * padding
            arguments = (
                jax.vmap(lambda seed: seed_keys(config.root, seed))(jnp.array(padded)),
                pack_chunk(chunk, families),
                jnp.arange(CHUNK) < len(chunk.seeds),
                jnp.array([fold_of[seed] for seed in padded]),
                device,
                target,
                weight_array,
            )
            program_key = f"{name}:{families}"
            if program_key not in compiled:
                before = time.perf_counter()
                program = make_program(config, shape, pretext, families)
                compiled[program_key] = jax.jit(program).lower(*arguments).compile()
                spent = time.perf_counter() - before
                state = state._replace(
                    compile_seconds=state.compile_seconds + spent,
                    compilations=state.compilations + 1,
                )
            before = time.perf_counter()
            measured = jax.block_until_ready(compiled[program_key](*arguments))
            seconds = (time.perf_counter() - before) / len(chunk.seeds)
            found = _to_arrays(measured, len(chunk.seeds), seconds, pretext.classes)
            if record:
                record.put(key, found)
        rows_of_results.append((chunk, found))
        done = state.done + len(chunk.seeds)
        skipped_members = state.skipped + (len(chunk.seeds) if skipped else 0)
        elapsed = time.perf_counter() - started
        run_now = done - skipped_members
        per_member = (elapsed - state.compile_seconds) / run_now if run_now else 0.0
        state = state._replace(
            done=done, skipped=skipped_members, seconds=elapsed, left=per_member * (total - done)
        )
        if report:
            report(state)
    controls = control_members(problems[0], joined.target, seeds, config)
    trained = {
        f"{setting.key}|{seed}": Trained(*(found[name][i] for name in Trained._fields))
        for chunk, found in rows_of_results
        for i, (setting, seed) in enumerate(zip(*chunk, strict=True))
    }
    return list(_pools(rows_of_results, controls, joined, problems)), trained, state


def _to_arrays(
    measured: Measured, count: int, seconds: float, classes: int
) -> dict[str, np.ndarray]:
    flat: dict[str, np.ndarray] = {}
    for name, value in measured._asdict().items():
        if isinstance(value, Parts):
            for part, array in value._asdict().items():
                flat[f"{name}.{part}"] = np.asarray(array)[:count]
        else:
            flat[name] = np.asarray(value)[:count]
    flat["seconds"] = np.full(count, seconds)
    finite = np.array(
        [all(np.isfinite(array[i]).all() for array in flat.values()) for i in range(count)]
    )
    flat["classes"] = np.full(count, classes)
    flat["finite"] = finite
    return flat


def _pools(
    results: Sequence[tuple[Chunk, dict[str, np.ndarray]]],
    controls: tuple[list[Member], np.ndarray, np.ndarray],
    joined: Union,
    problems: Sequence[Problem],
) -> Iterator[Pool]:
    members, heads = [], []
    for chunk, found in results:
        for i, (setting, seed) in enumerate(zip(*chunk, strict=True)):
            loss, auc = float(found["train_loss"][i]), float(found["discrimination"][i])
            status = status_of(loss, auc, int(found["classes"][i]), bool(found["finite"][i]))
            members.append(Member(setting, seed, status, loss, auc, float(found["seconds"][i])))
            pretext = pretexts.make(setting.pretext, setting.augmentation)
            heads.append(HEADS.index(pretext.score))

    def gather(name: str) -> np.ndarray:
        return np.concatenate([found[name] for _, found in results])

    def with_controls(trained: np.ndarray, control: np.ndarray) -> np.ndarray:
        extra = np.full((len(control), *trained.shape[1:]), np.nan, trained.dtype)
        extra[:, :1] = control
        return np.concatenate([trained, extra])

    def blank_controls(trained: np.ndarray) -> np.ndarray:
        extra = np.full((len(controls[0]), *trained.shape[1:]), np.nan, trained.dtype)
        return np.concatenate([trained, extra])

    scores_of = with_controls(gather("scores"), controls[1])
    held_out = with_controls(gather("held_out_scores"), controls[2])
    for i, _ in enumerate(problems):
        rows = joined.rows[i]

        def parts(name: str, pick: np.ndarray | None) -> Parts:
            fields = {}
            for part in Parts._fields:
                array = blank_controls(gather(f"{name}.{part}"))
                fields[part] = array if pick is None or array.ndim == 1 else array[:, pick]
            return Parts(**fields)  # type: ignore[arg-type]

        yield Pool(
            tuple(members) + tuple(controls[0]),
            scores_of[:, :, rows],
            held_out,
            parts("parts", rows),
            parts("held_out_parts", None),
            blank_controls(gather("mmd"))[:, i],
            blank_controls(gather("held_out_mmd")),
            np.array(heads + [0] * len(controls[0])),
        )
