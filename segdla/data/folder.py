"""Data of your own: two directories, or a list file, with masks of class ids or of colours."""

import colorsys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from segdla.data.labels import IGNORE_INDEX, Color, ColorEncoding, Encoding, IdEncoding, IdOrColorEncoding
from segdla.data.pair_source import PairSource
from segdla.data.pairing import ALIKE, Naming, pair_folders, pair_list
from segdla.data.paths import user_path
from segdla.data.source import Classes
from segdla.data.wide_samples import SampleRange
from segdla.errors import UserError, quoted


def folder(
    root: str | Path,
    names: Sequence[str],
    *,
    images: str | None = None,
    masks: str | None = None,
    naming: Naming = ALIKE,
    list_file: str | None = None,
    colors: Sequence[Color] | None = None,
    label_map: Mapping[int, str] | None = None,
    ignore: Sequence[int] | None = None,
    ignore_colors: Sequence[Color] = (),
    sample_range: SampleRange | None = None,
) -> PairSource:
    """Return the pairs in the directories ``images`` and ``masks``, or in ``list_file``, all relative to ``root``.

    Masks of one channel hold ids: positions in ``names``, or the keys of ``label_map``. ``ignore`` are ids that are no
    class; None stands for ``IGNORE_INDEX``, unless that is a class. Masks of colours are read by ``colors``, and so are
    palette images and greys whose colours are among them. ``sample_range`` is of images of more than 8 bits a sample.

    Raises UserError if a directory or the list is missing, or two classes have one colour.
    """
    root = user_path(root)
    # Classes numbered by greys, such as ids in three channels, would all be drawn nearly black.
    palette = colors if colors and any(len(set(color)) > 1 for color in colors) else distinct_colors(len(names))
    classes = Classes(tuple(names), tuple(palette))
    encode = _encoding(names, colors, label_map, ignore, ignore_colors)
    if list_file is not None:
        pairing = pair_list(root, user_path(list_file, root))
    else:
        assert images is not None and masks is not None, "neither a list nor two directories"
        pairing = pair_folders(user_path(images, root), user_path(masks, root), naming)
    return PairSource(pairing.pairs, classes, encode, pairing.problems, pairing.unused, sample_range)


def _encoding(
    names: Sequence[str],
    colors: Sequence[Color] | None,
    label_map: Mapping[int, str] | None,
    ignore: Sequence[int] | None,
    ignore_colors: Sequence[Color],
) -> Encoding:
    train_ids = dict.fromkeys((IGNORE_INDEX,) if ignore is None else ignore, IGNORE_INDEX)
    if label_map is None:
        train_ids |= {i: i for i in range(len(names))}
    else:
        train_ids |= {label_id: names.index(name) for label_id, name in label_map.items()}
    ids = IdEncoding(train_ids)
    if not colors:
        return ids
    twice = next((color for color, number in Counter(colors).items() if number > 1), None)
    if twice is not None:
        raise UserError(f"two classes have the colour {quoted(list(twice))} (data.colors); give each its own")
    by_color = dict.fromkeys(ignore_colors, IGNORE_INDEX) | {color: i for i, color in enumerate(colors)}
    return IdOrColorEncoding(ids, ColorEncoding(by_color, strict=True))


def distinct_colors(count: int) -> tuple[Color, ...]:
    """Return colours that are easy to tell apart: neighbours' hues differ by a golden ratio, at three brightnesses."""
    colors = (colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.75, (0.95, 0.7, 0.5)[i % 3]) for i in range(count))
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colors)
