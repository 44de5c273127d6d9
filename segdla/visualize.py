"""Pictures: coloured masks, overlays, legends, sample grids and curves. Arrays are RGB uint8."""

import hashlib
import io
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segdla.errors import UserError

_INK = (30, 30, 30)
_LONGEST_NAME = 255  # bytes, of usual file systems
_WIDEST = 512
_SMALLEST_ROW = 12  # pixels, of a legend that can still be read


def colorize(prediction: np.ndarray, palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Class ids (H,W) uint8 to colours (H,W,3); ids without a colour are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table[prediction]


def overlay(image: np.ndarray, colors: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """A coloured mask (H,W,3) over its image (H,W,3)."""
    return cv2.addWeighted(image, 1 - opacity, colors, opacity, 0)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """One that comes with a library we have anyway, and knows more than ASCII: Latin, Greek, Cyrillic and more."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _drawable(words: str) -> str:
    """Names of files may be no text (bytes that are no UTF-8)."""
    return words.encode("utf-8", "replace").decode()


def legend(names: Sequence[str], palette: Sequence[tuple[int, int, int]], row: int = 22) -> np.ndarray:
    """A column of colour patches with their class names, each ``row`` pixels high."""
    font = _font(round(0.65 * row))
    names = [_drawable(name) for name in names]
    width = 3 * row + math.ceil(max(font.getlength(name) for name in names))
    picture = Image.new("RGB", (width, row * len(names) + 8), "white")
    pen = ImageDraw.Draw(picture)
    for i, (name, color) in enumerate(zip(names, palette, strict=True)):
        top = 4 + i * row
        pen.rectangle((6, top + 3, 6 + row, top + row - 3), tuple(map(int, color)))
        pen.text((2 * row, top + row / 2), name, _INK, font, anchor="lm")
    return np.array(picture)


def with_legend(picture: np.ndarray, names: Sequence[str], palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """A picture with a legend in its lower left corner, where half its height and a third of its width have room."""
    height, width = picture.shape[:2]
    row = min(height // 30, (height // 2 - 8) // len(names), 44)
    if row < _SMALLEST_ROW:
        return picture
    drawn = legend(names, palette, row)
    if drawn.shape[1] > width // 3:
        return picture
    picture = picture.copy()
    corner = picture[height - drawn.shape[0] :, : drawn.shape[1]]
    corner[:] = overlay(corner, drawn, 0.8)
    return picture


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures side by side on white, both at the top."""
    height = max(left.shape[0], right.shape[0])
    parts = [
        cv2.copyMakeBorder(part, 0, height - part.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        for part in (left, right)
    ]
    return np.hstack(parts)


def sample_grid(
    samples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    names: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    ignore_index: int = 255,
) -> np.ndarray:
    """Rows of image, truth and prediction, with a legend; a prediction is dark where the truth is ignored.

    Pictures wider than ``_WIDEST`` pixels are shrunk to it.
    """
    rows = []
    for image, target, prediction in samples:
        if image.shape[1] > _WIDEST:
            size = (_WIDEST, max(1, round(image.shape[0] * _WIDEST / image.shape[1])))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            target, prediction = (
                cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST) for ids in (target, prediction)
            )
        predicted = colorize(prediction, palette)
        predicted[target == ignore_index] //= 3
        rows.append(np.hstack([image, colorize(target, palette), predicted]))
    width = max(row.shape[1] for row in rows)
    rows = [cv2.copyMakeBorder(r, 0, 0, 0, width - r.shape[1], cv2.BORDER_CONSTANT) for r in rows]
    return beside(np.vstack(rows), legend(names, palette))


def contact_sheet(
    samples: Sequence[tuple[str, np.ndarray, np.ndarray]],
    names: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    columns: int = 4,
    width: int = 280,
) -> np.ndarray:
    """Named images with their targets laid over them, in rows of ``columns``, and a legend; ignored pixels are bare."""
    columns = min(columns, len(samples))
    cells = []
    for name, image, target in samples:
        size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        target = cv2.resize(target, size, interpolation=cv2.INTER_NEAREST)
        colored = np.where((target < len(names))[..., None], overlay(image, colorize(target, palette)), image)
        cell = cv2.copyMakeBorder(colored, 18, 0, 0, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        labelled = Image.fromarray(cell)
        ImageDraw.Draw(labelled).text((2, 9), _drawable(name)[-width // 8 :], _INK, _font(12), anchor="lm")
        cells.append(np.array(labelled))
    height = max(cell.shape[0] for cell in cells)
    blank = np.full((height, width + 4, 3), 255, np.uint8)
    cells = [
        cv2.copyMakeBorder(cell, 0, height - len(cell), 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        for cell in cells
    ] + [blank] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return beside(np.vstack(rows), legend(names, palette))


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an RGB (H,W,3) or single-channel (H,W) array in the format of the suffix, making the folder.

    The file is there whole or not at all. Raises UserError where it can't be written.
    """
    array = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    _write_whole(path, cv2.imencode(path.suffix, array)[1].tobytes())


def write_palette(path: Path, ids: np.ndarray, palette: Sequence[tuple[int, int, int]]) -> None:
    """Write class ids (H,W) as a PNG with a palette: coloured to look at, and its samples are still the ids.

    Of few classes a pixel takes 1, 2 or 4 bits. As ``write_image`` otherwise.
    """
    assert ids.max(initial=0) < len(palette), f"id {ids.max()} of {len(palette)} classes"
    picture = Image.fromarray(ids)
    picture.putpalette([shade for color in palette for shade in color])
    file = io.BytesIO()
    picture.save(file, "PNG")
    _write_whole(path, file.getvalue())


def partial(path: Path, suffix: str = "") -> Path:
    """What a file is called while it is written: ``NAME.partial``, and a suffix by which its format is known."""
    name = f"{path.name}.partial{suffix}"
    if len(os.fsencode(name)) > _LONGEST_NAME:  # though the file's own name may do
        name = f"{hashlib.blake2b(os.fsencode(path.name)).hexdigest()}.partial{suffix}"
    return path.with_name(name)


def _write_whole(path: Path, content: bytes) -> None:
    temporary = partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UserError(f"cannot write {path}: {error.strerror}; choose another place or make room") from error


def write_curves(path: Path, records: Sequence[dict]) -> None:
    """Loss, learning rate and mIoU over steps, from the records of metrics.jsonl, as one picture."""
    # The object interface: pyplot keeps global state and looks for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (key, label) in zip(
        figure.subplots(1, 3), (("loss", "training loss"), ("lr", "learning rate"), ("mean_iou", "mIoU")), strict=True
    ):
        points = [(record["step"], record[key]) for record in records if key in record]
        if points:
            axis.plot(*zip(*points, strict=True), color="tab:blue", marker="." if len(points) < 60 else "")
        axis.set(xlabel="step", title=label)
        axis.grid(alpha=0.3)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; make room") from error
