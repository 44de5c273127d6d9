"""Your own data: two directories, or a list file, with masks of class ids or of colours."""

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path

from segdla.data.dataset import IGNORE_INDEX, Classes, Color, Encoding, PairSource
from segdla.data.labels import ColorEncoding, IdEncoding, IdOrColorEncoding
from segdla.data.pairing import ALIKE, Naming, pair_folders, pair_list


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
) -> PairSource:
    """Pairs from the directories ``images`` and ``masks``, or from ``list_file``, all relative to ``root``.

    Masks of one channel hold ids: positions in ``names``, or what ``label_map`` names; ``ignore`` None is 255, where
    that is no class. Masks of colours are read by ``colors``. Raises UserError where a directory or list is missing.
    """
    root = Path(root)
    # Greys, such as ids in three channels, would draw everything nearly black.
    telling = any(len(set(color)) > 1 for color in colors or ())
    classes = Classes(tuple(names), tuple(colors) if telling else distinct_colors(len(names)))
    encode = _encoding(names, colors, label_map, ignore, ignore_colors)
    if list_file is not None:
        pairing = pair_list(root, root / list_file)
    else:
        pairing = pair_folders(root / images, root / masks, naming)
    return PairSource(pairing.pairs, classes, encode, pairing.problems, pairing.unused)


def _encoding(
    names: Sequence[str],
    colors: Sequence[Color] | None,
    label_map: Mapping[int, str] | None,
    ignore: Sequence[int] | None,
    ignore_colors: Sequence[Color],
) -> Encoding:
    known = dict.fromkeys((IGNORE_INDEX,) if ignore is None else ignore, IGNORE_INDEX)
    if label_map is None:
        known |= {i: i for i in range(len(names))}
    else:
        known |= {label_id: names.index(name) for label_id, name in label_map.items()}
    ids = IdEncoding(known)
    if not colors:
        return ids
    ignored = dict.fromkeys(map(tuple, ignore_colors), IGNORE_INDEX)
    return IdOrColorEncoding(ids, ColorEncoding(ignored | {tuple(c): i for i, c in enumerate(colors)}, strict=True))


def distinct_colors(count: int) -> tuple[Color, ...]:
    """Colours that neighbours in number don't share: hues a golden ratio apart, at three brightnesses."""
    colors = (colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.75, (0.95, 0.7, 0.5)[i % 3]) for i in range(count))
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colors)
