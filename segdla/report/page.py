"""The page: its facts handed to a template, as one HTML file that needs nothing else.

Jinja2 fills it in, with autoescaping on: torch installs it anyway, and names of classes and files may hold anything.
``page.css`` and ``page.js`` are small enough to need no framework. The page's own policy (CSP) lets nothing be loaded,
and no script run but ``page.js``.
"""

import base64
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from segdla.data.source import Classes
from segdla.errors import one_line
from segdla.evaluation.comparison import Comparison
from segdla.evaluation.scores import Scores
from segdla.evaluation.table import percent
from segdla.machine.files import to_json
from segdla.report.data_look import DataLook
from segdla.report.pictures import UNSURE
from segdla.report.selection import row_shares, shown_classes, worst_confusions, wrong_share
from segdla.trained.record import words

MOST_CLASSES = 40
"""Rows of the confusion matrix; of more classes, those that have the most wrong pixels are shown."""
_HERE = Path(__file__).parent
_LONGEST = 2000  # characters of a text
_STEP = 15  # of 255, from colour to colour of a gradient


@dataclass(frozen=True)
class Facts:
    """Everything that a page shows; ``gallery`` has names of images by heading, ``plots`` SVG by name."""

    title: str
    classes: Classes
    scores: Scores
    matrix: np.ndarray  # (C,C)
    behind: Mapping[tuple[int, int], list[tuple[str, int]]]  # images of cells: names and pixels
    gallery: Mapping[str, list[str]]
    layers: Mapping[str, Mapping[str, str]]  # pictures by image
    plots: Mapping[str, Markup]
    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    config: str
    records: list[dict[str, Any]] = field(default_factory=list)
    comparison: Comparison | None = None
    compared_with: str = ""
    changes: Mapping[str, str] = field(default_factory=dict)
    look: DataLook | None = None


def render(facts: Facts) -> str:
    """Return the page as HTML text."""
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rows = shown_classes(facts.matrix, MOST_CLASSES)
    return (
        _environment()
        .get_template("page.html")
        .render(
            facts=facts,
            scores=facts.scores,
            style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
            script=Markup(script),
            sure_to_unsure=_gradient(),
            policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
            class_rows=_class_rows(facts),
            rows=rows,
            shares=row_shares(facts.matrix).tolist(),
            confusions=worst_confusions(facts.matrix),
            changes=_change_rows(facts.comparison) if facts.comparison else [],
            data=_data(facts, rows),
        )
    )


def _gradient() -> str:
    """Return the colours of uncertainty as CSS has them, from sure to unsure."""
    steps = ", ".join("#{:02x}{:02x}{:02x}".format(*color) for color in UNSURE[::_STEP].tolist())
    return f"linear-gradient(to right, {steps})"


def _class_rows(facts: Facts) -> list[dict[str, Any]]:
    """Return the numbers of each class, a row of the table of scores."""
    scores, total = facts.scores, max(1, int(facts.matrix.sum()))
    boundary = scores.other.get("boundary_iou", {}).get("iou", {})
    errors = scores.other.get("calibration", {}).get("ece_by_class", {})
    return [
        {
            "name": name,
            "color": "#{:02x}{:02x}{:02x}".format(*facts.classes.palette[place]),
            "share": float(facts.matrix[place].sum() / total),
            "iou": iou,
            "interval": (scores.iou_interval or {}).get(name),
            "precision": (scores.precision or {}).get(name),
            "accuracy": scores.accuracy.get(name),
            "boundary": boundary.get(name),
            "ece": errors.get(name),
        }
        for place, (name, iou) in enumerate(scores.iou.items())
    ]


def _change_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return what changed in each class, with the mean last."""
    first, second, change = comparison.first, comparison.second, comparison.difference
    names, ones, others = [*first.iou, "mean (mIoU)"], [*first.iou.values(), first.mean_iou], [*second.iou.values()]
    columns = (change.difference, change.low, change.high, change.probability)
    keys = ("name", "first", "second", "difference", "low", "high", "probability")
    return [
        dict(zip(keys, row, strict=True))
        for row in zip(names, ones, [*others, second.mean_iou], *(column.tolist() for column in columns), strict=True)
    ]


def _data(facts: Facts, rows: list[int]) -> dict[str, Any]:
    """Return what the script shows on demand: pictures, and the images behind each cell."""
    counts = facts.scores.images
    assert counts is not None, "a report needs the counts of single images"
    of_image = {name: place for place, name in enumerate(counts.names)}
    pictures = {
        shown(name): {
            "place": place,  # of its images in the page
            "mean_iou": float(counts.mean_iou[of_image[name]]),
            "wrong": wrong_share(counts, of_image[name]),
        }
        for place, name in enumerate(facts.layers)
    }
    listed = [(one.truth, one.predicted) for one in worst_confusions(facts.matrix)]
    behind = {
        f"{truth},{predicted}": [[shown(name), pixels] for name, pixels in images]
        for (truth, predicted), images in facts.behind.items()
        if {truth, predicted} <= {*rows} or (truth, predicted) in listed
    }
    gallery = [[shown(heading), [shown(name) for name in names]] for heading, names in facts.gallery.items()]
    names = [shown(name) for name in facts.classes.names]
    values = {"classes": names, "pictures": pictures, "behind": behind, "gallery": gallery}
    return to_json({**values, "pixels": facts.matrix.sum(1).tolist()})


def shown(text: Any) -> Any:
    """Return a text as a page can hold it: control characters and those of no alphabet escaped. Others stay."""
    return one_line(text, _LONGEST) if isinstance(text, str) and not isinstance(text, Markup) else text


def points(share: float | None) -> str:
    """Return a difference of shares in points, with its sign."""
    return "" if share is None or math.isnan(share) else f"{100 * share:+.2f}"


def thousands(number: int) -> str:
    """Return a whole number with commas between thousands."""
    return f"{number:,}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "thousands": thousands, "words": words}
    environment.filters["number"] = lambda value: "" if value is None or value != value else repr(value)
    return environment
