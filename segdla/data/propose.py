"""Two folders that nothing is known of: what the masks hold, and how the pairs may be split."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from segdla.data.dataset import Color, require_one_size
from segdla.data.duplicates import fingerprint, near_groups
from segdla.data.images import read_image, read_mask, read_palette
from segdla.data.labels import packed_colors, unpacked_color
from segdla.errors import UserError

_SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
_MOST_CLASSES = 64  # more values than that are no classes but instances
_BLURRED = 0.03  # of the pixels; one other value with more than that is a class


@dataclass(frozen=True)
class Contents:
    """What reading all pairs told; ``values`` are the masks' ids, or packed colours, with their pixels."""

    pairs: list[tuple[Path, Path]]  # those that could be read
    problems: list[str]  # with the others
    colored: bool
    values: dict[int, int]
    size: tuple[int, int]  # medians
    mean: list[float]
    std: list[float]
    groups: list[np.ndarray]  # indices of pairs whose images nearly are the same


@dataclass(frozen=True)
class Labels:
    """Classes and how masks tell them, in the terms of a folder data set."""

    classes: list[str]
    colors: list[Color] | None = None
    label_map: dict[int, str] | None = None
    ignore: list[int] | None = None


def find_splits(images: Path, masks: Path) -> dict[str, tuple[Path, Path]]:
    """Sub-folders of both that are named like splits, such as Train or val2017; none, where there is not train and
    another."""
    here, there = ({path.name for path in folder.iterdir() if path.is_dir()} for folder in (images, masks))
    found = {
        split: (images / name, masks / name)
        for split, names in _SPLITS.items()
        for name in sorted(here & there)
        if name.lower().rstrip("0123456789") in names
    }
    return found if "train" in found and len(found) > 1 else {}


def examine(
    pairs: Sequence[tuple[Path, Path]], progress: Callable[[Collection[Future]], Iterable[Future]] = iter
) -> Contents:
    """Read all pairs, in threads. Raises UserError where masks are JPEGs or hold no classes, or no pair can be
    read."""
    lossy = next((mask for _, mask in pairs if mask.suffix.lower() in (".jpg", ".jpeg")), None)
    if lossy is not None:
        raise UserError(
            f"{lossy} is to be a mask but is a JPEG, which blurs labels: are --images and --masks the right way round? "
            "Take the original masks, or save those that are black and white, thresholded, as PNGs in a folder of "
            "their own"
        )
    seen, readable, problems = [], [], []
    kinds: dict[bool, Path] = {}  # whether of colours: a mask
    values: Counter[int] = Counter()
    looks: dict[int, tuple[Color, Path]] = {}  # of an id, in palettes
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        futures = [pool.submit(_look, *pair) for pair in pairs]
        for pair, future in zip(pairs, progress(futures), strict=True):
            try:
                colored, found, palette, *look = future.result()
            except UserError as error:
                problems.append(str(error))
                continue
            kinds.setdefault(colored, pair[1])
            if len(kinds) > 1:
                raise UserError(f"{kinds[False]} holds ids but {kinds[True]} colours; make them of one kind")
            for value, color in palette.items():
                before, other = looks.setdefault(value, (color, pair[1]))
                if color != before:
                    raise UserError(
                        f"id {value} has the colour {before} in {other}, but {color} in {pair[1]}: the palettes "
                        "differ, and so may what the ids mean; save the masks as RGB, or with one palette"
                    )
            values.update(found)
            if len(values) > _MOST_CLASSES:  # at once: a photo taken for a mask has half a million
                raise UserError(
                    f"{pair[1]} holds {_number(found, colored)}, the masks so far {len(values)}, where at most "
                    f"{_MOST_CLASSES} classes are expected: is it a mask of classes, no photo, of no instances, its "
                    "edges not blurred? If they are classes, write the config by hand (README, Your own data)"
                )
            seen.append(look)
            readable.append(pair)
    finally:
        pool.shutdown(cancel_futures=True)
    if not readable:
        raise UserError(f"no pair can be read: {problems[0]}")
    if len(values) < 2:
        raise UserError(
            f"the masks hold {_number(values, True in kinds)} alone, such as {readable[0][1]}: there is nothing to "
            "tell apart"
        )
    sizes, means, squares, prints = (np.array(column) for column in zip(*seen, strict=True))
    mean = means.mean(0)
    std = np.sqrt(squares.mean(0) - mean**2)
    height, width = np.median(sizes, 0).astype(int).tolist()
    return Contents(
        pairs=readable,
        problems=problems,
        colored=True in kinds,
        values=dict(sorted(values.items())),
        size=(height, width),
        mean=(mean / 255).round(4).tolist(),
        std=(std / 255).clip(0.01).round(4).tolist(),
        groups=near_groups(prints),
    )


def name_labels(contents: Contents) -> Labels:
    """Classes for what the masks hold."""
    values = list(contents.values)
    if contents.colored:
        colors = [unpacked_color(value) for value in values]
        if all(len(set(color)) == 1 for color in colors):
            _require_no_blur({color[0]: pixels for color, pixels in zip(colors, contents.values.values(), strict=True)})
        names = ["background" if color == (0, 0, 0) else "color_{}_{}_{}".format(*color) for color in colors]
        return Labels(names, colors=colors)
    _require_no_blur(contents.values)
    if values == [0, 255]:
        return Labels(["background", "object"], label_map={0: "background", 255: "object"}, ignore=[])
    ignore = [value for value in values if value == 255]
    ids = [value for value in values if value != 255]
    if len(ids) < 2:
        raise UserError(f"the masks hold the ids {values} alone, and 255 is for what is unlabelled: no two classes")
    names = [f"class_{i}" for i in ids]
    in_order = ids == list(range(len(ids)))
    return Labels(names, label_map=None if in_order else dict(zip(ids, names, strict=True)), ignore=ignore or None)


def _require_no_blur(values: Mapping[int, int]) -> None:
    """Raises UserError where values, with their pixels, are black and white and what lies between at their edges."""
    total = sum(values.values())
    between = {value: pixels for value, pixels in values.items() if value not in (0, 255)}
    share = sum(between.values()) / total
    if not {0, 255} <= set(values) or not any(128 <= value < 255 for value in between):
        return
    if share < 0.25 and max(between.values()) < _BLURRED * total:
        raise UserError(
            f"the masks are black and white (0 and 255), but for {100 * share:.2g} % of the pixels, of values between "
            f"such as {max(between)}: blurred edges? Make PNGs of two values, thresholded at 128"
        )


def divide(
    indices: Sequence[int], groups: Sequence[np.ndarray], fraction: float, seed: int
) -> tuple[list[int], list[int]]:
    """Of the indices those to train on and, about a fraction of them, drawn, to validate on; no group is divided.

    But where too little lies outside of a large group, it is cut: its end is to validate on.
    """
    number = len(indices)
    wanted = min(max(1, round(fraction * number)), number - 1)
    groups = [group for group in (np.intersect1d(group, indices) for group in groups) if len(group)]
    alone = np.setdiff1d(indices, np.concatenate(groups)) if groups else np.array(indices)
    units = [*groups, *alone[:, None]]
    chosen: list[int] = []
    for unit in np.random.default_rng(seed).permutation(len(units)):
        if len(chosen) + len(units[unit]) <= wanted:
            chosen += units[unit].tolist()
    if 2 * len(chosen) < wanted:
        unit = min((unit for unit in units if unit[0] not in chosen), key=len).tolist()
        chosen += unit if len(chosen) + len(unit) <= number // 2 else unit[len(chosen) - wanted :]
    return sorted(set(indices) - set(chosen)), sorted(chosen)


def by_lists(pairs: Sequence[tuple[Path, Path]], images: Path, lists: Sequence[Path]) -> list[list[int]]:
    """Indices of the pairs that each list names, a line an image: its stem, its name or its path in the folder."""
    paths: dict[str, list[int]] = {}
    names: dict[str, list[int]] = {}
    for index, (image, _) in enumerate(pairs):
        inside = image.relative_to(images)
        paths[inside.as_posix()] = [index]
        for name in {inside.with_suffix("").as_posix(), image.name, image.stem}:
            names.setdefault(name, []).append(index)
    places = names | paths  # whole paths are told apart even where one is the name of another
    chosen = []
    for path in lists:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the list {path}: {getattr(error, 'strerror', error)}") from error
        listed = [line.strip() for line in lines if line.strip()]
        if not listed:
            raise UserError(f"{path} names no image; give a stem, name or path in {images} on each line")
        for name in listed:
            if len(places.get(name, ())) != 1:
                what = "more than one" if name in places else "none"
                raise UserError(
                    f"{path} names {name!r}, which is {what} of the images paired; give its path in {images}"
                )
        chosen.append([places[name][0] for name in listed])
    again = [index for index, times in Counter(chain(*chosen)).items() if times > 1]
    if again:
        raise UserError(f"the lists name {pairs[again[0]][0]} more than once; give each image one split")
    return chosen


def _number(values: Collection[int], colored: bool) -> str:
    kind = "colour" if colored else "id"
    return f"{len(values)} different {kind}s" if len(values) != 1 else f"one {kind}"


def _look(
    image_path: Path, mask_path: Path
) -> tuple[bool, dict[int, int], dict[int, Color], tuple[int, int], Sequence, Sequence, np.ndarray]:
    image, mask = read_image(image_path), read_mask(mask_path)
    require_one_size(image_path, image.shape[:2], mask_path, mask.shape[:2])
    values, counts = np.unique(packed_colors(mask) if mask.ndim == 3 else mask, return_counts=True)
    mean, std = (np.ravel(a) for a in cv2.meanStdDev(image))
    found = dict(zip(values.tolist(), counts.tolist(), strict=True))
    palette = read_palette(mask_path)
    colors = {value: tuple(palette[value].tolist()) for value in found if palette is not None and value < len(palette)}
    return mask.ndim == 3, found, colors, image.shape[:2], mean, std**2 + mean**2, fingerprint(image)
