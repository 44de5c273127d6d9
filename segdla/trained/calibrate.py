"""The temperature and the thresholds that were fitted for a network, kept in its checkpoint's card."""

import math
from dataclasses import replace
from typing import Any, Literal

import torch

from segdla.checkpoints.checkpoint import read_checkpoint, write_checkpoint
from segdla.checkpoints.find import SHIPPED
from segdla.data.source import Source
from segdla.errors import UserError
from segdla.evaluation.temperature import TemperatureFit
from segdla.evaluation.threshold import ThresholdFit
from segdla.export.formats import is_exported
from segdla.trained.open import TrainedNetwork

Key = Literal["temperature", "threshold"]
"""Keys of the section ``eval`` whose value can be fitted."""


def require_own_card(trained: TrainedNetwork, key: Key) -> None:
    """Raise UserError, before time is spent, if a fitted value can't be kept in a network's file, or has no use."""
    origin = trained.origin
    if is_exported(origin.path):
        raise UserError(f"{origin.path} is an exported file; fit the {key} of the run it came from, and export it")
    if origin.in_cache or origin.path.resolve() == SHIPPED.resolve():
        raise UserError(f"{origin.path} is not yours to change; copy it, and fit the {key} of the copy")
    if getattr(trained.config.eval, key) is not None:
        raise UserError(f"eval.{key} is what is to be fitted; leave it out")
    if key == "temperature":
        trained.classes.require_exclusive("a temperature")
    elif trained.config.model.head == "softmax":
        raise UserError(f"{origin.path} has head softmax, which has no threshold; leave out --fit-threshold")
    elif trained.temperature != 1:
        raise UserError(
            f"a threshold is of probabilities before the temperature, here {trained.temperature:.4g}; fit it with "
            "eval.temperature=null"
        )


def fit_of(key: Key, source: Source, device: torch.device) -> TemperatureFit | ThresholdFit:
    """Return the evaluator that fits a value on the images of a source."""
    if key == "temperature":
        return TemperatureFit(len(source))
    names = source.classes.names
    return ThresholdFit(names if source.classes.overlapping else names[1:], device)


def keep_fitted(trained: TrainedNetwork, key: Key, fit: dict[str, Any]) -> str:
    """Write the fitted value, the result of its evaluator, into the network's checkpoint, whole or not at all.

    Returns a line about it. Raises UserError if there is none, the file holds another network by now, or it can't be
    written.
    """
    values = (fit["temperature"],) if key == "temperature" else tuple(fit["thresholds"].values())
    if any(map(math.isnan, values)):
        raise UserError(f"no pixel is labelled, so no {key} fits; choose another --split")
    checkpoint = read_checkpoint(trained.path)
    if checkpoint.card.step != trained.card.step:
        raise UserError(
            f"{trained.path} was written anew meanwhile, at step {checkpoint.card.step}; fit its {key} when the "
            "training has ended"
        )
    card = checkpoint.card
    card = replace(card, temperature=values[0]) if key == "temperature" else replace(card, thresholds=values)
    write_checkpoint(trained.path, checkpoint.state_dict, card)
    use = "for eval.temperature=fitted" if key == "temperature" else "and used from now on"
    return f"the {key} is in the checkpoint, {use}"
