"""The temperature that was fitted for a network, kept in its checkpoint's card."""

import math
from dataclasses import replace
from typing import Any

from segdla.checkpoints.checkpoint import read_checkpoint, write_checkpoint
from segdla.checkpoints.find import SHIPPED
from segdla.errors import UserError
from segdla.export.formats import is_exported
from segdla.trained.open import TrainedNetwork


def require_own_card(trained: TrainedNetwork) -> None:
    """Raise UserError, before time is spent, if a temperature can't be kept in a network's file, or is in force."""
    origin = trained.origin
    if is_exported(origin.path):
        raise UserError(
            f"{origin.path} is an exported file; fit the temperature of the run it came from, and export it"
        )
    if origin.in_cache or origin.path.resolve() == SHIPPED.resolve():
        raise UserError(f"{origin.path} is not yours to change; copy it, and fit the temperature of the copy")
    if trained.config.eval.temperature is not None:
        raise UserError("eval.temperature is what is to be fitted; leave it out")


def keep_temperature(trained: TrainedNetwork, fit: dict[str, Any]) -> None:
    """Write a fitted temperature into the network's checkpoint, whole or not at all.

    Raises UserError if there is none, the file holds another network by now, or it can't be written.
    """
    temperature = fit["temperature"]
    if math.isnan(temperature):
        raise UserError("no pixel is labelled, so no temperature fits; choose another --split")
    checkpoint = read_checkpoint(trained.path)
    if checkpoint.card.step != trained.card.step:
        raise UserError(
            f"{trained.path} was written anew meanwhile, at step {checkpoint.card.step}; fit its temperature when the "
            "training has ended"
        )
    write_checkpoint(trained.path, checkpoint.state_dict, replace(checkpoint.card, temperature=temperature))
