"""The result of an evaluation, ``Scores``."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from segdla.evaluation.image_counts import ImageCounts, intervals

Interval = tuple[float, float]


@dataclass(frozen=True)
class Scores:
    """Scores of a split; every share is in 0..1, and NaN for a class that is neither in the truth nor predicted.

    Intervals, from low to high, hold the score with a confidence of 95 % for other images of the same kind; they are
    missing where that can't be known. ``images`` are the counts that they come from, and not part of the JSON.
    ``split`` and ``protocol`` say which images were scored, and by which of a data set's label sets. ``official`` is
    what the data set's own evaluator gives, if it has one. ``other`` holds the results of further evaluators by name.
    """

    mean_iou: float
    pixel_accuracy: float
    mean_accuracy: float
    iou: Mapping[str, float]  # by class name
    accuracy: Mapping[str, float]
    mean_category_iou: float | None = None
    category_iou: Mapping[str, float] | None = None
    official: Mapping[str, Any] | None = None
    split: str = ""
    protocol: str = ""
    other: Mapping[str, Any] = field(default_factory=dict)
    precision: Mapping[str, float] | None = None
    mean_iou_interval: Interval | None = None
    iou_interval: Mapping[str, Interval] | None = None
    images: ImageCounts | None = field(default=None, compare=False, repr=False)

    @property
    def unscored(self) -> str:
        """The reason, and the remedy, if the criterion is NaN in training."""
        return "the validation split has no labelled pixel of a class: nothing can be scored; check its masks"

    @property
    def criterion(self) -> float:
        """The score by which weights are chosen."""
        return self.mean_iou

    @property
    def measured(self) -> str:
        """That score in percent, with its name."""
        return f"mIoU {100 * self.mean_iou:.1f}"

    @property
    def line(self) -> str:
        """The scores in words."""
        return f"mIoU {100 * self.mean_iou:.2f} %  pixel accuracy {100 * self.pixel_accuracy:.2f} %"

    def with_images(self, images: ImageCounts) -> "Scores":
        """Return the scores with the intervals that the counts of single images give; see ``intervals``."""
        known: dict[str, Interval] = {}
        for name, (low, high) in zip((*self.iou, ""), intervals(images).tolist(), strict=True):
            if not math.isnan(low + high):
                known[name] = low, high
        of_mean = known.pop("", None)
        return replace(self, mean_iou_interval=of_mean, iou_interval=known or None, images=images)

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as a dict, without the entries that say nothing."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("images", "other")}
        values |= {"other": self.other} if self.other else {}
        return {key: value for key, value in values.items() if value is not None and value != ""}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Scores":
        """Return the scores that ``as_dict`` gave, also after JSON, which has null for NaN; other entries are ignored.

        Raises KeyError, TypeError or ValueError if these aren't scores.
        """
        values = dict(values)
        has_categories = values.get("category_iou") is not None
        return cls(
            mean_iou=_share(values["mean_iou"]),
            pixel_accuracy=_share(values["pixel_accuracy"]),
            mean_accuracy=_share(values["mean_accuracy"]),
            iou=_shares(values["iou"]),
            accuracy=_shares(values["accuracy"]),
            precision=_shares(values["precision"]) if values.get("precision") is not None else None,
            mean_iou_interval=_interval(values.get("mean_iou_interval")),
            iou_interval=_intervals(values.get("iou_interval")),
            mean_category_iou=_share(values["mean_category_iou"]) if has_categories else None,
            category_iou=_shares(values["category_iou"]) if has_categories else None,
            official=_with_nan(dict(values["official"])) if values.get("official") is not None else None,
            split=str(values.get("split") or ""),
            protocol=str(values.get("protocol") or ""),
            other=_with_nan(dict(values.get("other") or {})),
        )


def _share(value: Any) -> float:
    return math.nan if value is None else float(value)


def _shares(values: Any) -> dict[str, float]:
    return {str(name): _share(value) for name, value in dict(values).items()}


def _interval(value: Any) -> Interval | None:
    if value is None:
        return None
    low, high = value
    return float(low), float(high)


def _intervals(values: Any) -> dict[str, Interval] | None:
    if values is None:
        return None
    intervals = ((str(name), _interval(value)) for name, value in dict(values).items())
    return {name: interval for name, interval in intervals if interval is not None}


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(inner) for key, inner in value.items()}
    return math.nan if value is None else value
