"""What runs together: members in chunks, targets in a union, folds and settings as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax.base.devices import CHUNK
from ad_jax.base.errors import InputError
from ad_jax.data import Problem
from ad_jax.detect.look import network, pretext_of
from ad_jax.features import ENCODERS, frozen, seen_shape
from ad_jax.pool.drawn import DRAWN, Draws
from ad_jax.train import pretexts
from ad_jax.train.setting import TRAINING, Config, Setting
from ad_jax.train.trainer import Hyper


class Chunk(NamedTuple):
    """Members of one family that run together."""

    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]


class Shard(NamedTuple):
    """Worker `number` of `workers`, counted from 1: it does every `workers`-th chunk."""

    number: int
    workers: int


def chunks(members: Sequence[tuple[Setting, int]], size: int = CHUNK) -> list[Chunk]:
    """Members in their order, cut into chunks of one family and at most `size` members each."""
    out = []
    for family in dict.fromkeys(setting.family for setting, _ in members):
        own = [member for member in members if member[0].family == family]
        for start in range(0, len(own), size):
            some = own[start : start + size]
            out.append(Chunk(tuple(m[0] for m in some), tuple(m[1] for m in some)))
    return out


def sharded(members: Sequence[tuple[Setting, int]], shard: Shard, size: int) -> list[Chunk]:
    """A worker's chunks: every `workers`-th of `CHUNK` members, joined to chunks of `size`.

    So who does what depends on no machine's devices.
    """
    own = chunks(members)[shard.number - 1 :: shard.workers]
    return chunks([one for chunk in own for one in zip(*chunk, strict=True)], size)


class Union(NamedTuple):
    """The targets of several problems with one training set, every sample once.

    In the order of their content's hash, as in every problem alone.
    """

    target: np.ndarray  # [n, h, w, c]
    rows: tuple[np.ndarray, ...]  # per problem, its samples' rows in `target`


def union(problems: Sequence[Problem]) -> Union:
    """Joins the targets.

    Raises:
      InputError: problems whose normals differ.
    """
    if len({p.train_fingerprint for p in problems}) != 1:
        raise InputError("problems of one sweep must share their normals; sweep each by itself")
    samples: dict[str, np.ndarray] = {}
    for problem in problems:
        samples |= dict(zip(problem.sample_hashes, problem.target, strict=True))
    place = {name: row for row, name in enumerate(sorted(samples))}
    rows = tuple(np.array([place[name] for name in p.sample_hashes]) for p in problems)
    return Union(np.stack([samples[name] for name in place]), rows)


def program_of(
    setting: Setting, settings: Sequence[Setting], backbone: str
) -> tuple[str, tuple[str, ...]]:
    """Pretext and families of the program that one of the settings of a sweep runs in."""
    apart = (setting.augmentation,) if setting.pretext in pretexts.APART else ()
    on_features = frozen(backbone)
    if on_features and not augmentations.of_features(setting.augmentation):
        return setting.pretext, (DRAWN, *apart)
    if apart:
        return setting.pretext, apart
    own = [s.augmentation for s in settings if s.pretext == setting.pretext]
    same = [name for name in own if augmentations.of_features(name)] if on_features else own
    return setting.pretext, tuple(dict.fromkeys(same))


def check_settings(settings: Sequence[Setting], shape: tuple[int, ...], config: Config) -> None:
    """Refuses settings that cannot run on samples of `shape`, before anything is trained."""
    if not settings:
        raise InputError("no settings to try; give at least one augmentation")
    for setting in settings:
        entry = augmentations.get(setting.augmentation)
        if entry.group == "features" and not frozen(config.backbone):
            raise InputError(
                f"{setting.augmentation} changes a frozen encoder's features; {config.backbone} is "
                f"none, take backbone {next(iter(ENCODERS))}"
            )
        pretext = pretext_of(config, setting)
        if pretext.shown is not None:  # before views are made of samples that cannot have them
            entry.check(setting.augmentation, setting.hyper, shape)
        network(config, seen_shape(config.backbone, shape, pretext.shown), pretext)
        entry.check(setting.augmentation, setting.hyper, shape)
        TRAINING.check("training", setting.training)


def pack_chunk(
    chunk: Chunk, families: tuple[str, ...], size: int = CHUNK, draws: Draws | None = None
) -> Hyper:
    """Hyperparameters of a chunk `[size, ...]`, padded with its first member's.

    Where pseudo-anomalies were drawn before, these stand in the place of the augmentation's.
    """
    padded = list(chunk.settings) + [chunk.settings[0]] * (size - len(chunk.settings))
    entry = augmentations.get(chunk.settings[0].augmentation)
    if families[0] == DRAWN:
        assert draws is not None
        seeds = list(chunk.seeds) + [chunk.seeds[0]] * (size - len(chunk.seeds))
        drawn = [draws.of(s, seed) for s, seed in zip(padded, seeds, strict=True)]
        family, packed = 0, jax.tree.map(lambda *arrays: jnp.asarray(np.stack(arrays)), *drawn)
    else:
        length = augmentations.packed_length(families)
        family = families.index(chunk.settings[0].augmentation)
        packed = jnp.stack([entry.space.pack(s.hyper, length) for s in padded])
    return Hyper(
        jnp.int32(family),
        packed,
        {name: jnp.array([s.training[name] for s in padded], jnp.float32) for name in TRAINING},
    )


def stacked_folds(problem: Problem, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray, dict]:
    """Every distinct fold once: train `[f, n, ...]`, held-out `[f, m, ...]`, and seed -> fold."""
    period = problem.period
    which = sorted({seed % period for seed in seeds})
    splits = [problem.split(fold) for fold in which]
    return (
        np.stack([split.train for split in splits]),
        np.stack([split.held_out for split in splits]),
        {seed: which.index(seed % period) for seed in seeds},
    )
