"""The catalogue of augmentations as a page: ranges, units, gradients, sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ad_jax.augment import CATALOGUE, FEATURES, SERIES, Augmentation


class Section(NamedTuple):
    """Augmentations of one kind of sample.

    Attributes:
      title: heading.
      about: what they change.
      entries: by name.
      picture: of them all: file beside the page, and its text where it cannot be seen.
      seen: how to draw it of one's own data.
    """

    title: str
    about: str
    entries: Mapping[str, Augmentation]
    picture: tuple[str, str]
    seen: str


SECTIONS = (
    Section(
        "Images",
        "Images `[h, w, c]` in [0, 1], before any network sees them.",
        CATALOGUE,
        ("catalogue.png", "every augmentation at low, middle and high strength, with its mask"),
        "FOLDER",
    ),
    Section(
        "Series",
        "Windows of series `[t, c]`, in units of the training normals' mean and spread per "
        "channel. Series are [features](#features-and-rows), too, point by point.",
        SERIES,
        ("catalogue_series.png", "a window and its augmentation; changed stretches are shaded"),
        "series",
    ),
    Section(
        "Features and rows",
        "Features of a frozen encoder `[gh, gw, d]`, also those of the time points of a series, "
        "and the columns of a row, which is one position `[1, 1, d]`; in units of the training "
        "normals' spread per feature. The picture is of rows.",
        FEATURES,
        ("catalogue_rows.png", "a row of 30 columns and its augmentation, column by column"),
        "table",
    ),
)
HEAD = """\
# Catalogue of augmentations

Made by `python experiments/catalogue.py`; a test keeps it in step with the code. Values
are parameters of the distribution that a pseudo-anomaly's arguments are drawn from.
*Gradient*: whether the augmented sample can be differentiated by it (tested against
finite differences; where not, the gradient is exactly zero). *Predicted*: finitely many
transformations, which the pretext `prediction` tells apart. *Kinds*: what the pretext
`kinds` tells apart."""


def page() -> str:
    """Markdown of the whole catalogue; pictures lie beside it."""
    lines = [HEAD]
    for section in SECTIONS:
        file, text = section.picture
        seen = f"On your own data: `ad-jax preview {section.seen}`."
        lines += [
            "",
            f"## {section.title}",
            "",
            f"{section.about} {seen}",
            "",
            f"![{text}]({file})",
        ]
        for name, entry in section.entries.items():
            lines += ["", f"### {name}", "", *_lines_of(entry)]
    return "\n".join(lines) + "\n"


def _lines_of(entry: Augmentation) -> list[str]:
    facts = [entry.group, entry.source]
    if entry.needs:
        facts.append(f"needs {' and '.join(entry.needs)} images")
    if entry.views is not None:
        facts.append("predicted")
    if entry.parts:
        facts.append(f"kinds: {', '.join(entry.parts)}")
    if entry.strength:
        facts.append(f"strength: `{entry.strength}`")
    lines = ["; ".join(facts) + "."]
    if not entry.space:
        return lines
    lines += [
        "",
        "| hyperparameter | default | from | to | scale | unit | gradient | what it is |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for field, space in entry.space.items():
        lines.append(
            f"| `{field}` | {space.default:g} | {space.low:g} | {space.high:g} | {space.scale} "
            f"| {space.unit} | {'yes' if space.gradient else 'no'} | {space.about} |"
        )
    return lines
