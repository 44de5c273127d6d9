"""Parts that a caller hands in, in place of those that the config describes, and the checks that they fit."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from torch import Tensor

from segdla.data.labels import IGNORE_INDEX
from segdla.data.source import Source
from segdla.data.subset import evenly_spaced
from segdla.errors import UserError
from segdla.models.dlaseg import DLASeg

Loss = Callable[[Tensor, Tensor], Tensor]  # of logits (B,C,H,W) and targets (B,H,W) int64
_PAIRS = 8


class Own(NamedTuple):
    """Parts that a caller hands in; None for those that the config describes."""

    loss: Loss | None = None
    source: Mapping[str, Source] | None = None  # by split: train and val
    model: DLASeg | None = None


class Data(NamedTuple):
    """The images to train on and those to validate on."""

    training: Source
    validation: Source


def own_data(source: Mapping[str, Source], *, trains_on_val: bool) -> Data:
    """Return the sources of a caller, a few of whose pairs are checked.

    Raises UserError if a split is missing, empty or not what ``Source`` asks for, or if the splits' classes differ.
    """
    for split in ("train", "val"):
        if split not in source:
            raise UserError(f"source has no {split!r}; give a Source for each of 'train' and 'val'")
        require_usable(split, source[split])
    training, validation = source["train"], source["val"]
    if training.classes.names != validation.classes.names:
        raise UserError(
            f"source['train'] has the classes {list(training.classes.names)} and source['val'] "
            f"{list(validation.classes.names)}; give both the same"
        )
    return Data(training.joined(validation) if trains_on_val else training, validation)


def require_usable(split: str, source: Source) -> None:
    """Raise UserError if a source is empty or a few of its pairs are not what ``Source`` asks for."""
    if source.problems:
        raise UserError(source.problems[0])
    if not len(source):
        raise UserError(f"source[{split!r}] is empty; give it an image at least")
    sample = evenly_spaced(source, _PAIRS)
    for index in range(len(sample)):
        image, target = sample.read(index)
        name, number = f"{sample.name(index)} of source[{split!r}]", source.classes.num_values
        if not (image.dtype == target.dtype == np.uint8 and image.shape == (*target.shape, 3)):
            raise UserError(
                f"{name} is an image {image.dtype} {image.shape} with a target {target.dtype} {target.shape}; give "
                "uint8 (H, W, 3) and uint8 (H, W)"
            )
        strangers = np.setdiff1d(target, [*range(number), IGNORE_INDEX])
        if len(strangers):
            one, all_of_them = ("set", "sets") if source.classes.overlapping else ("train id", "ids")
            raise UserError(
                f"{name} has the {one} {strangers[0]} in its target; {len(source.classes)} classes have the "
                f"{all_of_them} 0 to {number - 1}, and {IGNORE_INDEX} is ignored"
            )


def require_fitting(model: DLASeg, num_logits: int) -> None:
    """Raise UserError if a caller's network has another number of logits than the data and the head ask for."""
    its_own = model.classifier.out_channels
    if its_own != num_logits:
        raise UserError(
            f"model gives {its_own} logits and the data take {num_logits}: build it with num_classes={num_logits}"
        )
