"""Your own data: two directories, or a list file, with masks whose pixel values are class ids."""

import colorsys
from collections.abc import Sequence
from pathlib import Path

from segdla.data.dataset import (
    IGNORE_INDEX,
    Classes,
    Color,
    IdEncoding,
    PairSource,
    list_images,
    pair_by_stem,
    read_list,
)
from segdla.errors import UserError


def folder(
    root: str | Path,
    names: Sequence[str],
    *,
    images: str | None = None,
    masks: str | None = None,
    list_file: str | None = None,
    colors: Sequence[Color] | None = None,
    ignore: Sequence[int] = (IGNORE_INDEX,),
) -> PairSource:
    """Pairs from the directories ``images`` and ``masks``, or from ``list_file``, all relative to ``root``.

    Raises UserError where a directory, a file or a partner is missing.
    """
    root = Path(root)
    classes = Classes(tuple(names), tuple(colors) if colors else distinct_colors(len(names)))
    encode = IdEncoding({i: i for i in range(len(names))} | dict.fromkeys(ignore, IGNORE_INDEX))
    if list_file is not None:
        pairs = [(root / image, root / mask) for image, mask in read_list(root / list_file)]
        for path in (path for pair in pairs for path in pair):
            if not path.is_file():
                raise UserError(f"no file {path}, listed in {root / list_file}")
    else:
        pairs = pair_by_stem(list_images(root / images), list_images(root / masks))
    return PairSource(pairs, classes, encode)


def distinct_colors(count: int) -> tuple[Color, ...]:
    """Colours that neighbours in number don't share: hues a golden ratio apart, at three brightnesses."""
    colors = (colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.75, (0.95, 0.7, 0.5)[i % 3]) for i in range(count))
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colors)
