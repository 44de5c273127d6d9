"""Pictures: coloured masks, overlays, legends, sample grids and curves. All arrays are RGB uint8 (H,W,3)."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segdla.data.background import is_background
from segdla.errors import shortened
from segdla.machine.fonts import lettering

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = (30, 30, 30)
_WIDEST = 512  # pixels
_SMALLEST_ROW = 12  # pixels of a row of a legend that can still be read
_LONGEST_NAME = 80  # letters that are drawn of a name
_MOST_POINTS, _FEW_POINTS = 600, 60  # of a curve; few are marked


def colorize(class_ids: np.ndarray, palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Return class ids (H,W) uint8 as colours (H,W,3); ids without a colour are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table[class_ids]


def overlay(image: np.ndarray, colors: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Blend a coloured mask (H,W,3) into its image (H,W,3)."""
    return cv2.addWeighted(image, 1 - opacity, colors, opacity, 0)


def is_tinted(name: str) -> bool:
    """Return whether pixels of a class take its colour in overlays: not if it is the background, or called void."""
    return not is_background(name) and name.lower().strip("_- ") != "void"


def tinted_classes(
    names: Sequence[str], palette: Sequence[tuple[int, int, int]]
) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Return the names and colours that the legend of an overlay shows: those of tinted classes, or all if none is."""
    places = [i for i, name in enumerate(names) if is_tinted(name)] or range(len(names))
    return [names[i] for i in places], [palette[i] for i in places]


def tint(
    image: np.ndarray, class_ids: np.ndarray, names: Sequence[str], palette: Sequence[tuple[int, int, int]]
) -> np.ndarray:
    """Blend the classes' colours into an image (H,W,3) with their ids (H,W); ``is_tinted`` says which have one.

    Ids without a class show the image alone too.
    """
    shown = np.zeros(256, np.uint8)
    shown[: len(names)] = [is_tinted(name) for name in names]
    return cv2.copyTo(overlay(image, colorize(class_ids, palette)), shown[class_ids], image.copy())


def lettered(name: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """Return a name as it can be drawn, with its font of that size in pixels."""
    text, path = lettering(name)
    return shortened(text, _LONGEST_NAME), _font(path, size)


@cache
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def legend(names: Sequence[str], palette: Sequence[tuple[int, int, int]], row: int = 22) -> np.ndarray:
    """Draw a column of colour patches with their class names, each ``row`` pixels high."""
    texts = [lettered(name, round(0.65 * row)) for name in names]
    width = 3 * row + math.ceil(max(font.getlength(text) for text, font in texts))
    picture = Image.new("RGB", (width, row * len(names) + 8), "white")
    pen = ImageDraw.Draw(picture)
    for i, ((text, font), color) in enumerate(zip(texts, palette, strict=True)):
        top = 4 + i * row
        pen.rectangle((6, top + 3, 6 + row, top + row - 3), tuple(map(int, color)))
        pen.text((2 * row, top + row / 2), text, INK, font, anchor="lm")
    return np.array(picture)


def with_legend(picture: np.ndarray, names: Sequence[str], palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Draw a legend into a copy of a picture, at the lower left.

    The picture itself is returned if the legend takes more than half its height or a third of its width.
    """
    height, width = picture.shape[:2]
    row = min(height // 30, (height // 2 - 8) // len(names), 44)
    if row < _SMALLEST_ROW:
        return picture
    column = legend(names, palette, row)
    if column.shape[1] > width // 3:
        return picture
    picture = picture.copy()
    corner = picture[height - column.shape[0] :, : column.shape[1]]
    corner[:] = overlay(corner, column, 0.8)
    return picture


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Put two pictures side by side on white, both at the top."""
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
    ignore_index: int,
) -> np.ndarray:
    """Draw rows of image (H,W,3), truth and prediction (H,W), with a legend.

    A prediction is dark where the truth is ignored. Pictures wider than ``_WIDEST`` pixels are shrunk to it.
    """
    rows = []
    for image, target, prediction in samples:
        if image.shape[1] > _WIDEST:
            size = (_WIDEST, max(1, round(image.shape[0] * _WIDEST / image.shape[1])))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            target, prediction = (
                cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST) for ids in (target, prediction)
            )
        colors = colorize(prediction, palette)
        colors[target == ignore_index] //= 3
        rows.append(np.hstack([image, colorize(target, palette), colors]))
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
    """Draw named images with their targets laid over them, in rows of ``columns``, and a legend.

    Each image is shrunk to ``width`` pixels. Pixels that are ignored or of the background show the image alone.
    """
    columns = min(columns, len(samples))
    cells = []
    for name, image, target in samples:
        size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        target = cv2.resize(target, size, interpolation=cv2.INTER_NEAREST)
        picture = tint(image, target, names, palette)
        cell = Image.fromarray(cv2.copyMakeBorder(picture, 18, 0, 0, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
        text, font = lettered(name, 12)
        place, anchor = (2, "lm") if font.getlength(text) < width else (width, "rm")  # of a long name, show the end
        ImageDraw.Draw(cell).text((place, 9), text, INK, font, anchor=anchor)
        cells.append(np.array(cell))
    height = max(cell.shape[0] for cell in cells)
    blank = np.full((height, width + 4, 3), 255, np.uint8)
    cells = [
        cv2.copyMakeBorder(cell, 0, height - len(cell), 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        for cell in cells
    ] + [blank] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return beside(np.vstack(rows), legend(*tinted_classes(names, palette)))


def rate_curve(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], proposal: float | None
) -> np.ndarray:
    """Draw the losses of a range test over the learning rate, and a line at the proposed rate."""

    def draw(figure: "Figure") -> None:
        axis = figure.subplots()
        axis.plot(rates, losses, color="tab:blue", alpha=0.3, label="loss of a step")
        axis.plot(rates, smoothed, color="tab:blue", label="moving average")
        if proposal is not None:
            axis.axvline(proposal, color="tab:orange", linestyle="--", label=f"train.lr={proposal:g}")
        axis.set(xscale="log", xlabel="learning rate", title="training loss")
        axis.grid(alpha=0.3)
        axis.legend()

    return _drawn((7, 4.2), draw)


def curves(records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Draw loss, learning rate and score over steps, from the records of metrics.jsonl."""
    return _drawn((12, 3.4), lambda figure: draw_curves(figure, records))


def draw_curves(figure: "Figure", records: Sequence[Mapping[str, Any]], color: str = "tab:blue") -> None:
    """Draw loss, learning rate and mIoU (of whole images, top-1) in percent over steps, side by side.

    Of many points, about 600 are drawn, evenly spaced: more can't be told apart.
    """
    measures = {"top1": "top-1 %", "correlation": "correlation %", "mean_iou": "mIoU %"}
    measure = next((key for key in measures if any(key in record for record in records)), "mean_iou")
    score = {measure: measures[measure]}
    titles = {"loss": "training loss", "lr": "learning rate"} | score
    for axis, (key, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        points = [(record["step"], record[key]) for record in records if key in record]
        if points:
            steps, values = np.array(points[:: max(1, len(points) // _MOST_POINTS)], float).T
            marker = "." if len(points) < _FEW_POINTS else ""
            axis.plot(steps, 100 * values if key in score else values, color=color, marker=marker)
        axis.set(xlabel="step", title=title)
        axis.grid(color="grey", alpha=0.3)


def _drawn(size: tuple[float, float], draw: Callable[["Figure"], None]) -> np.ndarray:
    """Return a figure of some inches (width, height) as a picture."""
    # The object interface: pyplot keeps global state and looks for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    draw(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
