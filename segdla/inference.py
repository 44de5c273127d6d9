"""Predictors: functions from images (B,3,H,W), RGB in 0..255, to scores (B,C,H,W), of which the largest wins.

Whatever improves a predictor takes one and gives one, so that ``multiscale(flip(predict), scales)`` does what it says.
All of them add scores up in place, in what the predictor gave them: no more than one map is alive beside the sum.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdla.errors import UserError

Predictor = Callable[[Tensor], Tensor]

MERGES: dict[str, Callable[[Tensor], Tensor]] = {
    "logprobs": partial(F.log_softmax, dim=1),
    "probs": partial(F.softmax, dim=1),
    "logits": lambda logits: logits,
}


def in_precision(model: nn.Module, device: torch.device, precision: str) -> Predictor:
    """The model as a function from images to float32 logits, computed in a precision: autocast where it is a half."""
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)

    def forward(images: Tensor) -> Tensor:
        with torch.autocast(device.type, half, enabled=half is not None):
            return model(images).float()

    return forward


def merged_by(merge: str, model: Predictor) -> Predictor:
    """Scores that may be added up: the log-probabilities, probabilities or logits of a model that gives logits."""
    normalise = MERGES[merge]
    return lambda images: normalise(model(images).float())


def classify(scores: Tensor) -> Tensor:
    """Scores (B,C,H,W) to class ids (B,H,W) uint8."""
    return scores.max(dim=1).indices.to(torch.uint8)  # a third of argmax's time on a CPU


def flip(predict: Predictor) -> Predictor:
    """Adds the scores of the left-right mirrored images."""

    def flipped(images: Tensor) -> Tensor:
        total = predict(images)
        mirrored = predict(images.flip(-1))
        # By strips, because torch mirrors by copying.
        for strip, mirrored_strip in zip(total.split(64, dim=-2), mirrored.split(64, dim=-2), strict=True):
            strip.add_(mirrored_strip.flip(-1))
        return total

    return flipped


def multiscale(predict: Predictor, scales: Sequence[float]) -> Predictor:
    """Adds the scores of the images at several scales; images resized bicubically, scores bilinearly."""

    def scaled(images: Tensor) -> Tensor:
        total = None
        for scale in scales:
            scores = _resize_scores(predict(_resize_images(images, scale)), images.shape[-2:])
            total = scores if total is None else total.add_(scores)
            del scores  # or it would stay alive beside the sum and the next one
        return total

    return scaled


def sliding_window(predict: Predictor, window: tuple[int, int], overlap: float = 0.25) -> Predictor:
    """Scores by windows of (height, width) that overlap by a share; averaged where they do.

    A window larger than the images is theirs; the last one of a row or column is pulled back to the edge.
    """

    def windowed(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        window_height, window_width = min(window[0], height), min(window[1], width)
        total, hits = None, torch.zeros(height, width, device=images.device)
        for top in _starts(height, window_height, overlap):
            for left in _starts(width, window_width, overlap):
                place = (..., slice(top, top + window_height), slice(left, left + window_width))
                scores = predict(images[place])
                if total is None:
                    total = scores.new_zeros(*scores.shape[:2], height, width)
                total[place] += scores
                hits[place] += 1
        return total.div_(hits)

    return windowed


def _starts(length: int, window: int, overlap: float) -> list[int]:
    stride = max(1, round(window * (1 - overlap)))
    return [*range(0, length - window, stride), length - window]


def _resize_images(images: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return images
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    resized = F.interpolate(images.float(), size=size, mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp_(0, 255)  # bicubic overshoots at edges


def _resize_scores(scores: Tensor, size: torch.Size) -> Tensor:
    if scores.shape[-2:] == size:
        return scores
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)


class Segmenter:
    """A trained network as one object: ``predict(image)`` to class ids, with its ``classes`` and ``palette``."""

    def __init__(
        self,
        predict: Predictor,
        classes: tuple[str, ...],
        palette: tuple[tuple[int, int, int], ...],
        device: torch.device,
        path: Path,
    ):
        self.scores = predict
        self.classes = classes
        self.palette = palette
        self.device = device
        self.path = path

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> np.ndarray:
        """An RGB image (H,W,3) uint8 to class ids (H,W) uint8."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise UserError(f"images are RGB (height, width, 3) uint8, not {image.shape} {image.dtype}")
        images = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(self.device)
        return classify(self.scores(images))[0].cpu().numpy()
