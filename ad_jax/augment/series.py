"""Pseudo-anomalies of series `[t, c]` in units of the normals' spread per channel, without bounds.

Positions are in points, point i covers [i - 1/2, i + 1/2]; a segment's start and length are
real-valued and its edges soft, so that a gradient sees them move. It lies anywhere in the window,
each place as likely. In series of several channels one takes part for sure, and every other one in
half of the draws.

Levels have a sign, and in a draw the opposite one with probability `flip`: by default both come up
equally often, as nothing is known of the anomalies. With `flip` 0 every level has the sign of
`level`, whose range goes through 0: a descent with `fixed={"flip": 0.0}` finds the sign, too. At
other values its gradient is that of the draws as they fell; at 1/2 only the size is determined. For
levels that are factors the opposite of `level` is `1 / level`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from ad_jax.augment.contract import Augmentation, Draw, local
from ad_jax.augment.patches import spread
from ad_jax.augment.soft import CUT
from ad_jax.base.space import Range, Space

LEAST = 2  # points of a segment: shorter ones change next to nothing
TSAP = "TSAP, arXiv 2404.02865"


class Segment(NamedTuple):
    """Where a series is changed.

    Attributes:
      start: lower edge in points: its first point is at `start + 1/2`.
      length: in points.
      softness: points over which an edge's sigmoid goes from 1/2 to 0.73.
      channels: `[c]`, 1 for those that take part, 0 for the others.
    """

    start: jax.Array
    length: jax.Array
    softness: jax.Array
    channels: jax.Array


class Levelled(NamedTuple):
    """A segment and a level: a value, a shift or a factor (scalar)."""

    segment: Segment
    level: jax.Array


class Drawn(NamedTuple):
    """A segment and what else was drawn: noise, whole points, channels or phases."""

    segment: Segment
    what: jax.Array


def _some(key: jax.Array, channels: int) -> jax.Array:
    """One channel for sure, every other one in half of the draws: `[c]` of 0 and 1."""
    one, others = jax.random.split(key)
    sure = jnp.arange(channels) == jax.random.randint(one, (), 0, channels)
    return (sure | jax.random.bernoulli(others, 0.5, (channels,))).astype(float)


def draw_segment(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Segment:
    """Of 2 points at least, at most the window, wholly inside and anywhere in it."""
    length_key, place, some = jax.random.split(key, 3)
    length = spread(length_key, hyper["length"], hyper["length_spread"]) * shape[0]
    length = jnp.clip(length, LEAST, shape[0])
    start = jax.random.uniform(place) * (shape[0] - length) - 0.5
    return Segment(start, length, jnp.asarray(hyper["softness"]), _some(some, shape[1]))


def _level(key: jax.Array, hyper: Mapping[str, Any], factor: bool) -> jax.Array:
    size, coin = jax.random.split(key)
    level = spread(size, hyper["level"], hyper["level_spread"])
    opposite = 1.0 / level if factor else -level
    return jnp.where(jax.random.bernoulli(coin, hyper["flip"]), opposite, level)


def _draw_levelled(
    key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...], factor: bool = False
) -> Levelled:
    place, level = jax.random.split(key)
    return Levelled(draw_segment(place, hyper, shape), _level(level, hyper, factor))


def soft_mask(segment: Segment, points: int, dtype: Any) -> jax.Array:
    """Product of two sigmoids, one for each edge: `[t]`.

    A sigmoid s becomes `max(s - CUT, 0) / (1 - CUT)`: continuous, still 1 deep inside, and exactly
    0 from 6.9 times the softness outside the edge.
    """
    place = jnp.arange(points)

    def edge(inside: jax.Array) -> jax.Array:
        share = jax.nn.sigmoid(inside / segment.softness)
        return jnp.maximum(share - CUT, 0.0) / (1.0 - CUT)

    end = segment.start + segment.length
    return (edge(place - segment.start) * edge(end - place)).astype(dtype)


def _blend(
    sample: jax.Array, mask: jax.Array, channels: jax.Array, other: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Goes to `other` under the mask, exactly at both ends; the sample and the mask."""
    weight = mask[:, None] * channels.astype(sample.dtype)
    return (1.0 - weight) * sample + weight * other.astype(sample.dtype), mask


def _laid(sample: jax.Array, segment: Segment, other: jax.Array) -> tuple[jax.Array, jax.Array]:
    mask = soft_mask(segment, sample.shape[0], sample.dtype)
    return _blend(sample, mask, segment.channels, other)


def _steps(segment: Segment, points: int) -> jax.Array:
    """Points `[t]` since the segment's first one: 0, 1, 2 … inside it."""
    return jnp.arange(points) - (segment.start + 0.5)


def _read(sample: jax.Array, where: jax.Array) -> jax.Array:
    """The series at real-valued places `[t]`, linear between points, repeated at the ends."""

    def resample(channel: jax.Array) -> jax.Array:
        return map_coordinates(channel, [where], order=1, mode="nearest")

    return jax.vmap(resample, in_axes=1, out_axes=1)(sample)


def platform(sample: jax.Array, drawn: Levelled) -> tuple[jax.Array, jax.Array]:
    """`x[i] = level`: the segment is flat."""
    return _laid(sample, drawn.segment, drawn.level)


def mean_shift(sample: jax.Array, drawn: Levelled) -> tuple[jax.Array, jax.Array]:
    """`x[i] += level`."""
    return _laid(sample, drawn.segment, sample + drawn.level)


def amplitude(sample: jax.Array, drawn: Levelled) -> tuple[jax.Array, jax.Array]:
    """`x[i] *= level`: deviations from the normals' mean grow or shrink."""
    return _laid(sample, drawn.segment, sample * drawn.level)


def trend(sample: jax.Array, drawn: Levelled) -> tuple[jax.Array, jax.Array]:
    """`x[i] += level / L * (0 .. L - 1)`: per step `level / L`, what TSAP calls its level."""
    steps = _steps(drawn.segment, sample.shape[0]) / drawn.segment.length
    return _laid(sample, drawn.segment, sample + drawn.level * steps[:, None])


def frequency(sample: jax.Array, drawn: Levelled) -> tuple[jax.Array, jax.Array]:
    """`x[first + j] = x[first + (level j mod L)]`: faster, and begun anew to fill the segment.

    At levels under 1 slower. Linear between points: where it begins anew there is a jump, whose
    moving is not in the gradient.
    """
    segment = drawn.segment
    steps = jnp.mod(drawn.level * _steps(segment, sample.shape[0]), segment.length)
    return _laid(sample, segment, _read(sample, segment.start + 0.5 + steps))


def time_warp(sample: jax.Array, drawn: Levelled) -> tuple[jax.Array, jax.Array]:
    """`x[i] = x(i + level L / (2 pi) sin(2 pi (i - start) / L))`, linear between points.

    Time runs at `1 + level cos` of its speed: faster at the edges and slower in the middle, or the
    other way with a negative level. The order of time is kept up to a level of 1.
    """
    segment, place = drawn.segment, jnp.arange(sample.shape[0])
    turn = 2.0 * jnp.pi * jnp.clip((place - segment.start) / segment.length, 0.0, 1.0)
    moved = place + drawn.level * segment.length / (2.0 * jnp.pi) * jnp.sin(turn)
    return _laid(sample, segment, _read(sample, moved))


class Point(NamedTuple):
    """One point (int32), its level, and the channels `[c]` that take part."""

    place: jax.Array
    level: jax.Array
    channels: jax.Array


def _draw_point(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Point:
    place, level, some = jax.random.split(key, 3)
    where = jax.random.randint(place, (), 0, shape[0])
    return Point(where, _level(level, hyper, False), _some(some, shape[1]))


def extremum(sample: jax.Array, point: Point) -> tuple[jax.Array, jax.Array]:
    """`x[place] = level`, of one point alone."""
    mask = (jnp.arange(sample.shape[0]) == point.place).astype(sample.dtype)
    return _blend(sample, mask, point.channels, point.level)


def _draw_noise(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Drawn:
    place, noise = jax.random.split(key)
    return Drawn(draw_segment(place, hyper, shape), hyper["std"] * jax.random.normal(noise, shape))


def series_noise(sample: jax.Array, drawn: Drawn) -> tuple[jax.Array, jax.Array]:
    """Adds noise `[t, c]` in the segment."""
    return _laid(sample, drawn.segment, sample + drawn.what)


def _draw_moved(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Drawn:
    """The shift is in whole points (int32), so its jumps are not in the gradient."""
    place, source = jax.random.split(key)
    segment = draw_segment(place, hyper, shape)
    start = jax.random.uniform(source) * (shape[0] - segment.length) - 0.5
    return Drawn(segment, jnp.round(start - segment.start).astype(jnp.int32))


def segment_cutpaste(sample: jax.Array, drawn: Drawn) -> tuple[jax.Array, jax.Array]:
    """Lays another segment of the series over this one."""
    return segment_cutpaste_donor(sample, drawn, sample)


def segment_cutpaste_donor(
    sample: jax.Array, drawn: Drawn, donor: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Lays a segment of the donor, from another place, over this one."""
    where = jnp.clip(jnp.arange(sample.shape[0]) + drawn.what, 0, sample.shape[0] - 1)
    return _laid(sample, drawn.segment, donor[where])


def reversal(sample: jax.Array, segment: Segment) -> tuple[jax.Array, jax.Array]:
    """The segment backwards, turned about the point or half point next to its middle."""
    ends = jnp.round(2.0 * segment.start + segment.length).astype(jnp.int32)
    where = jnp.clip(ends - jnp.arange(sample.shape[0]), 0, sample.shape[0] - 1)
    return _laid(sample, segment, sample[where])


def _draw_swap(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Drawn:
    """The order of channels `[c]` with two of them swapped, each pair as likely."""
    place, one, way = jax.random.split(key, 3)
    count = shape[1]
    first = jax.random.randint(one, (), 0, count)
    second = (first + jax.random.randint(way, (), 1, count)) % count
    order = jnp.arange(count).at[first].set(second).at[second].set(first)
    segment = draw_segment(place, hyper, shape)._replace(channels=jnp.ones(count))
    return Drawn(segment, order)


def channel_swap(sample: jax.Array, drawn: Drawn) -> tuple[jax.Array, jax.Array]:
    """Two channels change places in the segment."""
    return _laid(sample, drawn.segment, sample[:, drawn.what])


def _draw_phases(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Drawn:
    """A turn of every frequency `[t // 2 + 1]` in radians; the mean and the highest keep theirs."""
    place, turns = jax.random.split(key)
    phases = 2.0 * jnp.pi * jax.random.uniform(turns, (shape[0] // 2 + 1,))
    rate = jnp.arange(phases.shape[0])
    phases = jnp.where((rate > 0) & (2 * rate < shape[0]), phases, 0.0)
    return Drawn(draw_segment(place, hyper, shape), phases)


def phase_shuffle(sample: jax.Array, drawn: Drawn) -> tuple[jax.Array, jax.Array]:
    """Lays a surrogate of the window over the segment: its spectrum, at other phases.

    All channels turn alike, which keeps how they depend on each other.
    """
    turned = jnp.fft.rfft(sample, axis=0) * jnp.exp(1j * drawn.what)[:, None]
    return _laid(sample, drawn.segment, jnp.fft.irfft(turned, n=sample.shape[0], axis=0))


_SEGMENT = {
    "length": Range(0.2, 0.01, 1.0, "log", "share of the window", True, "centre of the length"),
    "length_spread": Range(2.0, 1.0, 4.0, "log", "factor", True, "length within centre / and x it"),
    "softness": Range(0.25, 0.05, 4.0, "log", "points", True, "scale of the edges' sigmoids"),
}
_SEGMENT_EXAMPLE = {"length": 0.3, "length_spread": 1.3, "softness": 0.8}
_SPREAD = Range(1.41, 1.0, 4.0, "log", "factor", True, "level within centre / and x this")
_FLIP = Range(0.5, 0.0, 1.0, "linear", "probability", False, "that a level is the opposite")
_LOCAL = functools.partial(Augmentation, group="local", takes=("series",))


def _smallest(shape: tuple[int, ...]) -> float:
    """Share of the window of a segment of 2 points."""
    return min(1.0, LEAST / shape[0])


_SIZED = functools.partial(_LOCAL, smallest=_smallest, extent="length")
_BY_LENGTH = functools.partial(
    _SIZED, strength="length", space=Space(_SEGMENT), example=_SEGMENT_EXAMPLE
)


def _shifting(
    kernel: Any, level: Range, example: float, source: str, factor: bool = False
) -> Augmentation:
    """An entry of a level in a segment; a grid takes sizes of one sign, as draws take both."""
    draw: Draw = functools.partial(_draw_levelled, factor=factor)
    return _SIZED(
        draw=draw,
        apply=local(kernel),
        space=Space(level=level, level_spread=_SPREAD, flip=_FLIP, **_SEGMENT),
        strength="level",
        grid_from=1.0 if factor else 0.0,
        example={"level": example, "level_spread": 1.3, "flip": 0.5, **_SEGMENT_EXAMPLE},
        source=source,
    )


def _signed(default: float, most: float, unit: str, about: str) -> Range:
    return Range(default, -most, most, "linear", unit, True, about)


_UNIT = "normals' spread"
_FACTOR = Range(3.0, 0.125, 8.0, "log", "factor", True, "centre of the factor")

SERIES: dict[str, Augmentation] = {
    "platform": _shifting(
        platform,
        _signed(2.0, 4.0, _UNIT, "centre of the platform's value"),
        1.5,
        f"{TSAP}, levels -1 to 1",
    ),
    "mean_shift": _shifting(
        mean_shift,
        _signed(2.0, 4.0, _UNIT, "centre of the shift"),
        1.5,
        f"{TSAP}, levels -1 to 1",
    ),
    "amplitude": _shifting(amplitude, _FACTOR, 2.0, f"{TSAP}, levels 1 to 6, flip 0", factor=True),
    "trend": _shifting(
        trend,
        _signed(3.0, 8.0, f"{_UNIT} a segment", "centre of the rise from edge to edge"),
        1.5,
        f"{TSAP}, levels -.01 to .01 a step",
    ),
    "extremum": _LOCAL(
        draw=_draw_point,
        apply=local(extremum),
        space=Space(
            level=_signed(6.0, 15.0, _UNIT, "centre of the point's value"),
            level_spread=_SPREAD,
            flip=_FLIP,
        ),
        strength="level",
        grid_from=0.0,
        example={"level": 4.0, "level_spread": 1.3, "flip": 0.5},
        source=f"{TSAP}, levels -15 to 15",
    ),
    "frequency": _shifting(
        frequency,
        _FACTOR._replace(default=2.0, about="centre of the speed"),
        1.6,
        f"{TSAP}, phases repeated",
        factor=True,
    ),
    "series_noise": _SIZED(
        draw=_draw_noise,
        apply=local(series_noise),
        space=Space(
            std=Range(1.0, 0.05, 4.0, "log", _UNIT, True, "standard deviation of the noise"),
            **_SEGMENT,
        ),
        strength="std",
        example={"std": 0.5, **_SEGMENT_EXAMPLE},
        source="jitter of series, Um et al., arXiv 1706.00527, in a segment",
    ),
    "time_warp": _shifting(
        time_warp,
        _signed(0.6, 0.95, "of the speed", "centre of how much faster time runs at the edges"),
        0.5,
        "time warping, Um et al., arXiv 1706.00527, in a segment",
    ),
    "segment_cutpaste": _BY_LENGTH(
        draw=_draw_moved,
        apply=local(segment_cutpaste),
        source="CutPaste, arXiv 2104.04015, of a segment",
    ),
    "segment_cutpaste_donor": _BY_LENGTH(
        draw=_draw_moved,
        apply=segment_cutpaste_donor,
        source="CutPaste, arXiv 2104.04015, of a segment of another training sample",
    ),
    "reversal": _BY_LENGTH(
        draw=draw_segment,
        apply=local(reversal),
        source="flip in time, arXiv 2002.12478, of a segment",
    ),
    "channel_swap": _BY_LENGTH(
        draw=_draw_swap,
        apply=local(channel_swap),
        needs=("channels",),
        source="permutation of channels, arXiv 2007.15951, of a segment",
    ),
    "phase_shuffle": _BY_LENGTH(
        draw=_draw_phases,
        apply=local(phase_shuffle),
        source="phase surrogates, Prichard & Theiler, Phys. Rev. Lett. 73, 951 (1994)",
    ),
}
