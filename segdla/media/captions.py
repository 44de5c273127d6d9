"""Images with what is said about the whole of them written below."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from segdla.visualize import INK, lettered

_SIDE = 256  # pixels of the longer side of an image in a grid
_WHITE = (255, 255, 255)


def labelled_grid(samples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], names: Sequence[str]) -> np.ndarray:
    """Draw images (H,W,3) side by side, with the name of the class and of the first one predicted below each.

    Class and prediction are arrays of ids, whose first one counts; an id without a name is of no class.
    """
    columns = []
    for image, target, prediction in samples:
        scale = _SIDE / max(image.shape[:2])
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        ids = (int(np.ravel(array)[0]) for array in (target, prediction))
        truth, seen = (names[i] if 0 <= i < len(names) else "?" for i in ids)
        columns.append(with_lines(image, [f"is {truth}", f"seen {seen}"]) if len(names) > 1 else image)
    height = max(column.shape[0] for column in columns)
    columns = [cv2.copyMakeBorder(c, height - len(c), 0, 0, 4, cv2.BORDER_CONSTANT, value=_WHITE) for c in columns]
    return np.hstack(columns)


def with_lines(image: np.ndarray, lines: Sequence[str], row: int = 18) -> np.ndarray:
    """Return an image (H,W,3) with lines of text on white below it; what is wider than the image is cut off."""
    picture = Image.fromarray(
        cv2.copyMakeBorder(image, 0, row * len(lines) + 4, 0, 0, cv2.BORDER_CONSTANT, value=_WHITE)
    )
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        text, font = lettered(line, round(0.65 * row))
        pen.text((4, image.shape[0] + row * (number + 0.5) + 2), text, INK, font, anchor="lm")
    return np.array(picture)
