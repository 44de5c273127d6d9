"""Pascal VOC, written: a palette PNG of ids for each image, 255 where it is ignored, and a list of each split's images.

A labelmap.txt gives the classes and their colours, as CVAT and datumaro write it, and as __ignore__ that of ignored
pixels; where colours of classes are alike, a class_names.txt gives the names alone, as labelme2voc writes it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from segdla.data.annotations.pascal_voc import VOID, voc_color
from segdla.data.annotations.unlabelled import IGNORED
from segdla.data.label_files.label_format import Files
from segdla.data.label_files.labelled import (
    NO_LINE,
    UNSPLIT,
    Labelled,
    Style,
    as_lines,
    require_image_name,
    require_names,
)
from segdla.data.labels import Color
from segdla.data.source import Classes

IMAGES = "JPEGImages"
KEEPS_IGNORED = True
IS_FLAT = True


def require_fit(classes: Classes) -> None:
    """Raise UserError if a name of a class can't be written."""
    require_names(classes.names, rf"{NO_LINE}|:|^#", "VOC's labelmap.txt")


def part(name: str) -> str:
    """Return the mask of an image."""
    return f"SegmentationClass/{name.rpartition('.')[0]}.png"


def content(labelled: Labelled, style: Style, file: Path) -> bytes:
    """Return the mask as a PNG. Raises UserError if a list of names can't hold the image's."""
    require_image_name(labelled.name, r"[\s\ud800-\udfff\x00-\x1f]", "VOC's list")
    return labelled.mask(_palette(style.classes))


def written(folder: Path) -> list[str]:
    """Return nothing: a list has names without suffixes."""
    return []


def whole(folder: Path, names: Mapping[str, Sequence[str]], style: Style) -> Files:
    """Return the list of the classes, and those of images."""
    for split, images in names.items():
        yield f"ImageSets/Segmentation/{split or UNSPLIT}.txt", as_lines(name.rpartition(".")[0] for name in images)
    classes = style.classes
    if _has_colors(classes):
        colors = [*zip(classes.names, classes.palette, strict=True), (IGNORED, VOID)]
        lines = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in colors]
        yield "labelmap.txt", as_lines(["# label:color_rgb:parts:actions", *lines])
    else:
        yield "class_names.txt", as_lines(classes.names)


def _palette(classes: Classes) -> list[Color]:
    """Return the colours of the classes, or VOC's own for their ids."""
    return list(classes.palette) if _has_colors(classes) else [voc_color(i) for i in range(len(classes))]


def _has_colors(classes: Classes) -> bool:
    return len({*classes.palette, VOID}) == len(classes) + 1
