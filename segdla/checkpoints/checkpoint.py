"""A checkpoint: weights in a safetensors file whose header holds a ``Card``: everything needed to use them."""

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from segdla.data.source import Classes
from segdla.errors import UserError, in_shell
from segdla.evaluation.criterion import AnyScores
from segdla.evaluation.feature_scores import FeatureScores
from segdla.evaluation.scores import Scores
from segdla.evaluation.top_scores import TopScores
from segdla.machine.files import to_json, write_whole

Value = TypeVar("Value")

BEST = "best.safetensors"
"""The checkpoint in a run's folder."""
_FORMAT = "segdla checkpoint 1"
_TRAINED_ON = ", trained on"  # ended the name of the split in cards of version 0.1


@dataclass(frozen=True)
class Card:
    """The origin of a network: config, classes, scores.

    ``config`` is the whole config in nested dicts. ``scores`` are those on the validation split at ``step``; with
    ``trained_on_val`` the network was trained on these images too, and they say nothing. ``version`` is of segdla.
    ``temperature`` divides the logits, so that probabilities are calibrated; None if it has not been fitted. Of head
    sigmoid, ``thresholds`` are the probabilities above which a logit's class is there; none if they were not fitted.
    """

    config: Mapping[str, Any]
    classes: Classes
    scores: AnyScores | None = None
    step: int = 0
    version: str = ""
    trained_on_val: bool = False
    temperature: float | None = None
    thresholds: tuple[float, ...] = ()

    def to_json(self) -> str:
        """Return the card as JSON text, for checkpoints and exported files."""
        values = {
            "config": self.config,
            "classes": self.classes.names,
            "palette": self.classes.palette,
            "protocol": self.classes.protocol,
            "categories": self.classes.categories,
            "overlapping": self.classes.overlapping,
            "whole_images": self.classes.whole_images,
            "scores": None if self.scores is None else to_json(self.scores.as_dict()),
            "step": self.step,
            "version": self.version,
            "trained_on_val": self.trained_on_val,
            "temperature": self.temperature,
            "thresholds": self.thresholds,
        }
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> "Card":
        """Return the card in JSON text, also in that of version 0.1. Raises ValueError if there is none in it."""
        try:
            values = _of_type(json.loads(text), dict)
            scores = dict(values.get("scores") or {})
            split = str(scores.get("split", ""))
            others: dict[str, type[TopScores | FeatureScores]] = {"top1": TopScores, "correlation": FeatureScores}
            kind = next((other for key, other in others.items() if key in scores), Scores)
            return cls(
                config=_of_type(values["config"], dict),
                classes=_classes(values),
                scores=kind.from_dict({**scores, "split": split.removesuffix(_TRAINED_ON)}) if scores else None,
                step=_of_type(values.get("step", 0), int),
                version=_of_type(values.get("version", ""), str),
                trained_on_val=_of_type(values.get("trained_on_val", split.endswith(_TRAINED_ON)), bool),
                temperature=_temperature(values.get("temperature")),
                thresholds=tuple(map(_threshold, _of_type(values.get("thresholds") or [], list))),
            )
        except (KeyError, OverflowError, RecursionError, TypeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


class Checkpoint(NamedTuple):
    """The content of a checkpoint file."""

    path: Path
    state_dict: dict[str, Tensor]
    card: Card


def write_checkpoint(path: Path, state_dict: Mapping[str, Tensor], card: Card) -> None:
    """Write a checkpoint, whole or not at all. Raises UserError if it can't be written."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
    write_whole(path, save(tensors, metadata={"format": _FORMAT, "card": card.to_json()}), durable=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises UserError if the file is none."""
    card = read_card(path)
    try:
        with safe_open(path, framework="pt") as file:
            return Checkpoint(path, {name: file.get_tensor(name) for name in file.keys()}, card)  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _no_checkpoint(path, error) from error


def read_card(path: Path) -> Card:
    """Read the card of a checkpoint, from the file's header alone. Raises UserError if the file is none."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _no_checkpoint(path, error) from error
    if metadata.get("format") != _FORMAT:
        raise UserError(
            f"{path} holds weights but was not written by segdla's training; start from it with "
            f"{in_shell(path, 'model.weights')}"
        )
    try:
        return Card.from_json(metadata["card"])
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is a damaged checkpoint: its card can't be read ({error}); take another") from error


def _no_checkpoint(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is not a checkpoint of segdla ({error}); give a run or its {BEST}")


def _classes(values: Mapping[str, Any]) -> Classes:
    names, palette = _of_type(values["classes"], list), _of_type(values["palette"], list)
    if len(names) != len(palette):
        raise ValueError(f"{len(names)} classes, {len(palette)} colours")
    return Classes(
        tuple(_of_type(name, str) for name in names),
        tuple((r, g, b) for r, g, b in (bytes(_of_type(color, list)) for color in palette)),
        _of_type(values.get("protocol") or "", str),
        tuple(_of_type(category, str) for category in values.get("categories") or ()),
        _of_type(values.get("overlapping", False), bool),
        _of_type(values.get("whole_images", False), bool),
    )


def _temperature(value: Any) -> float | None:
    if value is None:
        return None
    temperature = _of_type(float(value) if isinstance(value, int) else value, float)
    if not 0 < temperature < math.inf:
        raise ValueError(f"a temperature of {temperature}")
    return temperature


def _threshold(value: Any) -> float:
    threshold = _of_type(value, float)
    if not 0 < threshold < 1:
        raise ValueError(f"a threshold of {threshold}")
    return threshold


def _of_type(value: Any, kind: type[Value]) -> Value:
    if not isinstance(value, kind):
        raise TypeError(f"{reprlib.repr(value)} is no {kind.__name__}")
    return value
