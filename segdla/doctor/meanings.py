"""The meanings that mask files give to their ids: by a palette, or by labelme's list of names beside each mask."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from segdla.data.images import read_mask, read_palette
from segdla.data.labels import Color

_NAMES = "label_names.txt"  # of labelme_json_to_dataset; the number of a line is the id
_COLOR, _NAME = "colour", "name"

Meaning = Mapping[tuple[str, int], Color | str]
"""Colours and names of ids, by their kind and the id."""


class Meanings:
    """The meanings of ids in all masks so far."""

    def __init__(self) -> None:
        self._firsts: dict[tuple[str, int], tuple[Color | str, Path]] = {}  # with the mask that has it

    def add(self, mask: Path, meaning: Meaning) -> str:
        """Note what a mask's ids mean; return what to say if that contradicts a mask before, else an empty text."""
        for (kind, label_id), value in meaning.items():
            before, other = self._firsts.setdefault((kind, label_id), (value, mask))
            if value == before:
                continue
            if kind == _COLOR:
                return (
                    f"id {label_id} has the colour {before} in {other}, but {value} in {mask}: the palettes differ, "
                    "and so may what the ids mean; give the classes' colours (data.colors), by which palettes are then "
                    "read, or save the masks with one palette"
                )
            return (
                f"id {label_id} is {before!r} by {other.with_name(_NAMES)}, but {value!r} by {mask.with_name(_NAMES)}: "
                "each file numbers its own labels; export with labelme2voc.py and one labels.txt, which numbers "
                "them alike"
            )
        return ""

    def colors(self) -> dict[int, Color]:
        """Return the palettes' colours of the ids."""
        return {i: value for (_, i), (value, _) in self._firsts.items() if isinstance(value, tuple)}

    def names(self) -> dict[int, str]:
        """Return the listed names of the ids."""
        return {i: value for (_, i), (value, _) in self._firsts.items() if isinstance(value, str)}


def has_palette(meaning: Meaning) -> bool:
    """Return whether a mask's ids have colours."""
    return any(kind == _COLOR for kind, _ in meaning)


def meaning_of(mask: Path) -> Meaning:
    """Read the colours and names that a mask file, or a list beside it, gives to the ids in it.

    Raises UserError if the mask can't be read.
    """
    palette, names = read_palette(mask), _names_beside(mask)
    if palette is None and not names:
        return {}
    samples = read_mask(mask)
    ids = np.unique(samples).tolist() if samples.ndim == 2 else []
    colors = [] if palette is None else [(red, green, blue) for red, green, blue in palette.tolist()]
    return {(_COLOR, i): colors[i] for i in ids if i < len(colors)} | {
        (_NAME, i): names[i] for i in ids if i < len(names)
    }


def _names_beside(mask: Path) -> list[str]:
    try:
        return mask.with_name(_NAMES).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
