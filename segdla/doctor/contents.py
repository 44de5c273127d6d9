"""The contents of two folders' masks: all are read, and classes are named for the values in them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segdla.data.image_header import lossy_compression
from segdla.data.images import read_image, read_mask
from segdla.data.labels import IGNORE_INDEX, Color, packed_colors, unpacked_color
from segdla.data.pair_source import require_one_size
from segdla.data.wide_samples import SampleRange
from segdla.doctor.blur import are_even_greys, inner_pixels, require_no_blur
from segdla.doctor.file_facts import used_range
from segdla.doctor.image_facts import ImageFacts, ImageSummary, look_at_image, sum_up
from segdla.doctor.meanings import Meaning, Meanings, has_palette, meaning_of
from segdla.errors import UserError
from segdla.machine.threads import Progress, in_threads

_MOST_CLASSES = 64  # more values than that aren't classes but instances


@dataclass(frozen=True)
class Contents:
    """The outcome of reading all pairs; ``values`` are the masks' ids, or packed colours, with their pixels."""

    pairs: list[tuple[Path, Path]]  # those that could be read
    problems: list[str]  # with the others
    colored: bool
    values: dict[int, int]
    images: ImageSummary
    inner: Mapping[int, int] = field(default_factory=dict)  # pixels of the values that lie among their like
    pixels: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))  # (pairs, values), of each mask
    palette: Mapping[int, Color] = field(default_factory=dict)  # of the ids, if all masks have one
    names: Mapping[int, str] = field(default_factory=dict)  # of the ids, in lists beside each mask
    sample_range: SampleRange | None = None  # that images of 16 bits use, if they don't use all of them


@dataclass(frozen=True)
class Labels:
    """Classes and their values in the masks, in the terms of a folder data set's config."""

    classes: list[str]
    colors: list[Color] | None = None
    label_map: dict[int, str] | None = None
    ignore: list[int] | None = None
    ignore_colors: list[Color] | None = None
    named: bool = False  # by the user's own files
    remark: str = ""  # for the user


class _Look(NamedTuple):
    """The contents of one pair."""

    colored: bool  # a mask of colours, not of ids
    values: dict[int, int]  # ids, or packed colours, with their pixels
    inner: dict[int, int]  # those of the pixels that lie among their like
    meaning: Meaning  # of the ids, by a palette or a list of names
    image: ImageFacts


class _Tally:
    """The values of all masks so far; it refuses masks that differ in kind or hold no classes."""

    def __init__(self) -> None:
        self.values: Counter[int] = Counter()
        self.inner: Counter[int] = Counter()
        self._examples: dict[bool, Path] = {}  # a mask of each kind: of colours or not
        self.meanings = Meanings()

    @property
    def colored(self) -> bool:
        return True in self._examples

    def add(self, mask: Path, look: _Look) -> None:
        """Count a mask's values. Raises UserError if it does not go with the masks before."""
        self._examples.setdefault(look.colored, mask)
        if len(self._examples) > 1:
            raise UserError(
                f"{self._examples[False]} holds ids but {self._examples[True]} colours; make them of one kind"
            )
        if contradiction := self.meanings.add(mask, look.meaning):
            raise UserError(contradiction)
        self.values.update(look.values)
        self.inner.update(look.inner)
        if len(self.values) > _MOST_CLASSES:  # at once: a photo taken for a mask has half a million
            raise UserError(
                f"{mask} holds {_number(look.values, look.colored)}, the masks so far {len(self.values)}, where at "
                f"most {_MOST_CLASSES} classes are expected: is it a photo, a mask of instances, or blurred at "
                "its edges? If they are classes, write the config by hand (docs/your_data.md)"
            )


def examine(pairs: Sequence[tuple[Path, Path]], progress: Progress = iter) -> Contents:
    """Read all pairs, in threads; ``progress`` wraps the futures that are waited for, one a pair.

    Raises UserError if masks are JPEGs or hold no classes, or no pair can be read.
    """
    _require_lossless([mask for _, mask in pairs])
    tally = _Tally()
    readable: list[tuple[Path, Path]] = []
    looks: list[_Look] = []
    problems: list[str] = []
    sample_range = used_range([image for image, _ in pairs])
    with in_threads(lambda pair: _look(*pair, sample_range), pairs) as futures:
        for pair, future in zip(pairs, progress(futures), strict=True):
            try:
                look: _Look = future.result()
            except UserError as error:
                problems.append(str(error))
                continue
            tally.add(pair[1], look)
            readable.append(pair)
            looks.append(look)
    if not looks:
        raise UserError(f"no pair can be read: {problems[0]}")
    if len(tally.values) < 2:
        raise UserError(
            f"the masks hold {_number(tally.values, tally.colored)} alone, such as {readable[0][1]}: there is nothing "
            "to tell apart"
        )
    values = dict(sorted(tally.values.items()))
    return Contents(
        pairs=readable,
        problems=problems,
        colored=tally.colored,
        values=values,
        images=sum_up([look.image for look in looks]),
        inner=tally.inner,
        pixels=np.array([[look.values.get(value, 0) for value in values] for look in looks]),
        palette=tally.meanings.colors() if all(has_palette(look.meaning) for look in looks) else {},
        names=tally.meanings.names(),
        sample_range=sample_range,
    )


def name_labels(contents: Contents) -> Labels:
    """Name a class for each value in the masks.

    Among ids, 255 means unlabelled, unless it has more than half of the pixels, or the ids are even steps of grey from
    0 to 255.

    Raises UserError if the masks are blurred or hold fewer than two classes.
    """
    values, inner = contents.values, contents.inner
    if contents.colored:
        colors = [unpacked_color(value) for value in values]
        if are_greys := all(len(set(color)) == 1 for color in colors):
            values, inner = ({value & 255: pixels for value, pixels in counts.items()} for counts in (values, inner))
        require_no_blur(values, inner, are_greys)
        names = ["background" if color == (0, 0, 0) else "color_{}_{}_{}".format(*color) for color in colors]
        return Labels(names, colors=colors)
    require_no_blur(values, inner, are_greys=True)
    ids = list(values)
    if ids == [0, 255]:
        return Labels(["background", "object"], label_map={0: "background", 255: "object"}, ignore=[])
    names = [f"class_{i}" for i in ids]
    reason = _reason_for_a_class(values)
    if reason:
        remark = (
            f"{IGNORE_INDEX} is taken for a class, as {reason}; if it is what is unlabelled, take it out of classes "
            f"and label_map, and set ignore: [{IGNORE_INDEX}]"
        )
        return Labels(names, label_map=dict(zip(ids, names, strict=True)), ignore=[], remark=remark)
    ignore = [i for i in ids if i == IGNORE_INDEX]
    if len(ids) - len(ignore) < 2:
        raise UserError(
            f"the masks hold the ids {ids} alone, and {IGNORE_INDEX} is for what is unlabelled: no two classes"
        )
    ids, names = ids[: len(ids) - len(ignore)], names[: len(ids) - len(ignore)]
    in_order = ids == list(range(len(ids)))
    return Labels(names, label_map=None if in_order else dict(zip(ids, names, strict=True)), ignore=ignore or None)


def _reason_for_a_class(values: Mapping[int, int]) -> str:
    """Say why 255 is no unlabelled pixels' value; return an empty text if it is, or if there is none."""
    share = values.get(IGNORE_INDEX, 0) / sum(values.values())
    if share > 0.5:
        return f"{100 * share:.0f} % of the pixels have it"
    return f"the ids {list(values)} are even steps of grey" if are_even_greys(list(values)) else ""


def _require_lossless(masks: Sequence[Path]) -> None:
    for mask in masks:
        try:
            kind = lossy_compression(mask)
        except UserError:  # reported when all pairs are read
            continue
        if kind:
            raise UserError(
                f"{mask} is to be a mask but is a {kind}, which blurs labels: are --images and --masks the right way "
                "round? Take the original masks, or save those that are black and white, thresholded, as PNGs in a "
                "folder of their own"
            )


def _number(values: Collection[int], colored: bool) -> str:
    kind = "colour" if colored else "id"
    return f"{len(values)} different {kind}s" if len(values) != 1 else f"one {kind}"


def _look(image_path: Path, mask_path: Path, sample_range: SampleRange | None) -> _Look:
    image, mask = read_image(image_path, sample_range), read_mask(mask_path)
    require_one_size(image_path, image.shape[:2], mask_path, mask.shape[:2])
    ids = packed_colors(mask) if mask.ndim == 3 else mask
    return _Look(
        colored=mask.ndim == 3,
        values=_counts(ids),
        inner=_counts(ids[inner_pixels(mask)]),
        meaning=meaning_of(mask_path),
        image=look_at_image(image),
    )


def _counts(ids: np.ndarray) -> dict[int, int]:
    numbers, counts = np.unique(ids, return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))
