"""The catalogue of augmentations as a page: ranges, units, gradients, sources."""

from __future__ import annotations

from ad_jax.augment import CATALOGUE


def page(picture: str) -> str:
    """Markdown of the whole catalogue.

    Args:
      picture: path of the picture sheet, relative to the page.
    """
    lines = [
        "# Catalogue of augmentations",
        "",
        "Made by `python experiments/catalogue.py`; a test keeps it in step with the code. Values",
        "are parameters of the distribution that a pseudo-anomaly's arguments are drawn from.",
        "*Gradient*: whether the augmented sample can be differentiated by it (tested against",
        "finite differences; where not, the gradient is exactly zero). *Predicted*: finitely many",
        "transformations, which the pretext `prediction` tells apart. *Kinds*: what the pretext",
        "`kinds` tells apart.",
        "",
        f"![every augmentation at low, middle and high strength, with its mask]({picture})",
    ]
    for name, entry in CATALOGUE.items():
        lines += ["", f"## {name}", ""]
        facts = [entry.group, entry.source]
        if entry.needs:
            facts.append(f"needs {' and '.join(entry.needs)} images")
        if entry.views is not None:
            facts.append("predicted")
        if entry.parts:
            facts.append(f"kinds: {', '.join(entry.parts)}")
        if entry.strength:
            facts.append(f"strength: `{entry.strength}`")
        lines.append("; ".join(facts) + ".")
        if not entry.space:
            continue
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
    return "\n".join(lines) + "\n"
