"""The labels of a data set as a labelling tool gives them, whatever the format."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from segdla.data.annotations.shapes import Drawing
from segdla.data.labels import Color
from segdla.errors import UserError


@dataclass(frozen=True)
class Entry:
    """An image that has been labelled, perhaps with nothing."""

    image: str  # its name in the tree of images
    labels: str  # the name of the file that its labels are in
    load: Callable[[tuple[int, int]], Drawing]  # gives them for an image of (height, width); raises UserError
    subset: str = ""  # that it belongs to, such as train
    further: tuple[str, ...] = ()  # the names of other files that its labels depend on


@dataclass(frozen=True)
class LabelExport:
    """The labelled images of a data set, and the classes that are known before the labels are read.

    ``smaller_on_top`` says that the format keeps no drawing order, so that smaller shapes go over larger ones.
    """

    entries: Sequence[Entry]
    classes: Sequence[str] = ()
    smaller_on_top: bool = False
    colors: Mapping[str, Color] = field(default_factory=dict)  # of classes, as far as the format has them
    ignore: Sequence[str] = ()  # labels of what is unlabelled
    problems: Sequence[str] = ()  # a message for each labelled image that can't be in the data set
    remarks: Sequence[str] = ()  # for the user who drafts a config


SPLIT_WORDS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
"""The names that tools and people give to each split, in lower case."""


def subset_of(path: str) -> str:
    """Return the split that a path speaks of, its last part first: train, val, test or none.

    ``valid``, ``images/val2017`` and ``annotations/instances_val2017.json`` speak of val.
    """
    words = [
        word.rstrip("0123456789") for part in reversed(path.lower().split("/")) for word in re.split("[-_. ]", part)
    ]
    return next((split for word in words for split, names in SPLIT_WORDS.items() if word in names), "")


def given(drawing: Drawing, size: tuple[int, int]) -> Drawing:
    """Return the drawing: with ``partial``, the ``load`` of an entry whose labels have been read."""
    return drawing


def refused(message: str, size: tuple[int, int]) -> Drawing:
    """Raise UserError: with ``partial``, the ``load`` of an entry whose labels can't be read."""
    raise UserError(message)
