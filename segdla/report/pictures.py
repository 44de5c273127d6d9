"""Pictures for a page: an image, its truth, its prediction, errors and uncertainty, small, as data URIs."""

import base64
import io
from collections.abc import Sequence
from itertools import chain

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from segdla.data.labels import IGNORE_INDEX, Color
from segdla.evaluation.evaluator import Prediction
from segdla.machine import distributed
from segdla.visualize import colorize

WIDEST = 560
"""Pixels of the longer side."""
UNSURE = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
"""Colours (256,3) of uncertainties from 0 to 1, whose lightness rises evenly."""
_QUALITY = 50  # an image of CamVid then takes 39 kB with all layers, and 500 of them 19 MB
_UNSURE_QUALITY = 50
_WRONG = (230, 20, 60, 190)
_IGNORED = (0, 0, 0, 150)


class Pictures:
    """Small pictures of all images that are predicted; an ``Evaluator``.

    ``layers`` are data URIs by image and layer. The uncertainty of a pixel is the probability that the network gives to
    other classes than the one that it predicts.
    """

    name = "pictures"
    needs_probabilities = True

    def __init__(self, palette: Sequence[Color]):
        self.palette = palette
        self.layers: dict[str, dict[str, str]] = {}

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Draw the images of a batch."""
        assert prediction.probabilities is not None, "uncertainty needs probabilities"
        confidences = prediction.probabilities.gather(1, prediction.class_ids[:, None].long())[:, 0]
        unsure = (255 * (1 - confidences)).round().byte()
        tensors = (images.permute(0, 2, 3, 1), targets, prediction.class_ids, unsure)
        arrays = zip(*(tensor.cpu().numpy() for tensor in tensors), strict=True)
        for name, (image, target, class_ids, doubts) in zip(prediction.names, arrays, strict=True):
            self.layers[name] = layers(image, target, class_ids, doubts, self.palette)

    def reduce(self) -> None:
        """Gather the pictures of all processes."""
        self.layers = dict(chain.from_iterable(layers.items() for layers in distributed.gathered(self.layers)))

    def result(self) -> dict[str, dict[str, str]]:
        """Return the pictures."""
        return self.layers


def layers(
    image: np.ndarray, target: np.ndarray, class_ids: np.ndarray, unsure: np.ndarray, palette: Sequence[Color]
) -> dict[str, str]:
    """Return data URIs by layer: image, truth, prediction, error and uncertainty.

    image is (H,W,3), the others are (H,W), all uint8. The error is clear where the prediction is right. ``unsure`` is
    255 where the network gives all probability to other classes.
    """
    height, width = image.shape[:2]
    scale = min(1.0, WIDEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    half = (size[0] + 1) // 2, (size[1] + 1) // 2  # smooth maps lose little by it
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    unsure = cv2.resize(unsure, half, interpolation=cv2.INTER_AREA)
    target, class_ids = (cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST) for ids in (target, class_ids))
    error = np.zeros((*target.shape, 4), np.uint8)
    error[target != class_ids] = _WRONG
    error[target == IGNORE_INDEX] = _IGNORED
    return {
        "image": webp(image, quality=_QUALITY),
        "truth": webp(colorize(target, palette), lossless=True),
        "prediction": webp(colorize(class_ids, palette), lossless=True),
        "error": webp(error, lossless=True),
        "uncertainty": webp(UNSURE[unsure], quality=_UNSURE_QUALITY),
    }


def webp(picture: np.ndarray, *, quality: int = 80, lossless: bool = False) -> str:
    """Return a picture (H,W,3) RGB or (H,W,4) RGBA as a data URI."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=quality, lossless=lossless)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
