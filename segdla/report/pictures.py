"""Pictures for a page: an image, its truth, its prediction and its errors, small, as data URIs."""

import base64
import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from segdla.data.labels import IGNORE_INDEX, Color
from segdla.data.source import Source
from segdla.visualize import colorize

WIDEST = 560
"""Pixels of the longer side. An image of a street then takes about 45 kB with its three masks."""
_QUALITY = 70
_WRONG = (230, 20, 60, 190)
_IGNORED = (0, 0, 0, 150)


class Pictures:
    """Small pictures of a source's images; ``write`` is what an evaluation's outputs are."""

    def __init__(self, source: Source):
        self.source = source
        self.places = {source.name(place): place for place in range(len(source))}
        self.layers: dict[str, dict[str, str]] = {}

    def write(self, name: str, class_ids: np.ndarray) -> None:
        """Keep the pictures of an image with the class ids (H,W) uint8 that are predicted."""
        image, target = self.source.read(self.places[name])
        self.layers[name] = layers(image, target, class_ids, self.source.classes.palette)


def layers(image: np.ndarray, target: np.ndarray, class_ids: np.ndarray, palette: Sequence[Color]) -> dict[str, str]:
    """Return data URIs by layer: image, truth, prediction, and error, which is clear where the prediction is right."""
    height, width = image.shape[:2]
    scale = min(1.0, WIDEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    target, class_ids = (cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST) for ids in (target, class_ids))
    error = np.zeros((*target.shape, 4), np.uint8)
    error[target != class_ids] = _WRONG
    error[target == IGNORE_INDEX] = _IGNORED
    return {
        "image": webp(image, quality=_QUALITY),
        "truth": webp(colorize(target, palette), lossless=True),
        "prediction": webp(colorize(class_ids, palette), lossless=True),
        "error": webp(error, lossless=True),
    }


def webp(picture: np.ndarray, *, quality: int = 80, lossless: bool = False) -> str:
    """Return a picture (H,W,3) RGB or (H,W,4) RGBA as a data URI."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=quality, lossless=lossless)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
