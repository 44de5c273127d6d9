"""Two evaluations of the same images side by side: is the difference real?"""

from dataclasses import dataclass

import numpy as np
from rich.table import Table

from segdla.errors import UserError, quoted
from segdla.evaluation.image_counts import ImageCounts, ScoreDifference, difference
from segdla.evaluation.scores import Scores
from segdla.evaluation.table import percent

_REAL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Two networks' scores on the same images. ``difference`` is by class, (C+1) with the mean last, second - first.

    ``moved`` are the images by how much their own mean IoU changed, those that changed most first.
    """

    first: Scores
    second: Scores
    difference: ScoreDifference
    moved: list[tuple[str, float]]

    @property
    def is_real(self) -> bool | None:
        """True if chance explains the difference of mean IoU in fewer than 5 of 100 cases; None if that is unknown."""
        probability = self.difference.probability[-1]
        return None if np.isnan(probability) else bool(probability < _REAL)


def compare(first: Scores, second: Scores) -> Comparison:
    """Compare two scores of ``segdla.evaluate``, or of the records of ``segdla test``.

    Raises UserError if they are not of the same images, labels and classes.
    """
    ours, theirs = first.images, second.images
    if ours is None or theirs is None:
        raise UserError("scores without those of each image can't be compared; take what segdla.evaluate returns")
    if list(first.iou) != list(second.iou):
        raise UserError(
            f"the scores are of different classes: {_names(first)}, and {_names(second)}; compare like things"
        )
    if set(ours.names) != set(theirs.names):
        lacking = sorted(set(ours.names) ^ set(theirs.names))[0]
        raise UserError(f"the scores are of different images: one has {quoted(lacking)} alone; test both on one split")
    places = {name: place for place, name in enumerate(theirs.names)}
    order = [places[name] for name in ours.names]
    theirs = ImageCounts(ours.names, ours.groups, theirs.hits[order], theirs.truth[order], theirs.predicted[order])
    changed = np.flatnonzero((ours.truth != theirs.truth).any(1))
    if len(changed):
        raise UserError(f"the labels of {quoted(ours.names[changed[0]])} changed in between; test both again")
    change = np.nan_to_num(theirs.mean_iou - ours.mean_iou)
    moved = [(ours.names[place], float(change[place])) for place in np.argsort(-np.abs(change), kind="stable")]
    return Comparison(first, second, difference(ours, theirs), moved)


def comparison_table(comparison: Comparison) -> Table:
    """Return the IoU of both by class, the difference with its interval in points, and how probable it is by chance."""
    table = Table()
    table.add_column("class")
    for title in ("first %", "second %", "difference", "95 % interval", "by chance"):
        table.add_column(title, justify="right")
    first, second, change = comparison.first, comparison.second, comparison.difference
    rows = [*zip(first.iou, first.iou.values(), second.iou.values(), strict=True)]
    rows.append(("mean (mIoU)", first.mean_iou, second.mean_iou))
    for place, (name, one, other) in enumerate(rows):
        is_mean = place == len(rows) - 1
        if is_mean:
            table.add_section()
        low, high, probability = change.low[place], change.high[place], change.probability[place]
        sure = ("", "") if np.isnan(probability) else (f"{100 * low:+.2f} to {100 * high:+.2f}", _chance(probability))
        points = "-" if np.isnan(change.difference[place]) else f"{100 * change.difference[place]:+.2f}"
        table.add_row(name, percent(one), percent(other), points, *sure, style="bold" if is_mean else "")
    return table


def _chance(probability: float) -> str:
    return "< 0.1 %" if probability < 0.001 else f"{100 * probability:.1f} %"


def _names(scores: Scores) -> str:
    return ", ".join(map(quoted, list(scores.iou)[:5])) + (", ..." if len(scores.iou) > 5 else "")
