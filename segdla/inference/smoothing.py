"""Temporal smoothing: the score maps of a video's frames are averaged along the motion, so that classes don't flicker.

Optical flow is OpenCV's DIS (Kroeger, Timofte, Dai, Van Gool: *Fast Optical Flow using Dense Inverse Search*, ECCV
2016). How its settings and the numbers below were chosen: benchmarks/README.md, "Video".
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segdla.inference.score_maps import Probabilities

ProbabilitiesOf = Callable[[Tensor], Probabilities]
"""From images (B,3,H,W), RGB in 0..255, to the probabilities (B,C,H,W) of their classes."""

_KEPT = 0.6  # weight of the earlier frames
_LARGEST_DIFFERENCE = 20.0  # grey levels, mean of 5x5 pixels, between a frame and the one before brought onto it
_SMALLEST_MATCH = 0.5  # part of the frame that must match the one before; else there was a cut
_SMALLEST_SIDE = 32  # below it, DIS reads beyond its memory


def smooth(probabilities_of: ProbabilitiesOf) -> ProbabilitiesOf:
    """Average a video's probabilities along its motion; frames (1,3,H,W) are handed in one after the other.

    The average of the frames before, which an optical flow brings onto the new one, has a weight of 0.6 where the two
    look alike. Elsewhere, as in a place that was hidden, and after a cut, the average begins anew.
    """
    before: tuple[np.ndarray, Probabilities] | None = None

    def smoothed(frames: Tensor) -> Probabilities:
        nonlocal before
        grey, average = _grey(frames), probabilities_of(frames)
        if before is not None and before[0].shape == grey.shape:
            average = _averaged(average, grey, *before)
        before = grey, average
        return average

    return smoothed


def _grey(frames: Tensor) -> np.ndarray:
    assert len(frames) == 1, f"{len(frames)} frames at once; hand them in one after the other"
    return cv2.cvtColor(frames[0].permute(1, 2, 0).to(torch.uint8).cpu().numpy(), cv2.COLOR_RGB2GRAY)  # (H,W)


def _averaged(now: Probabilities, grey: np.ndarray, grey_before: np.ndarray, before: Probabilities) -> Probabilities:
    height, width = grey.shape
    flow = _flow(grey, grey_before)  # (H,W,2)
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    inside_x, inside_y = x.clip(0, width - 1), y.clip(0, height - 1)
    brought = cv2.remap(grey_before, inside_x, inside_y, cv2.INTER_LINEAR)
    difference = cv2.blur(cv2.absdiff(grey, brought).astype(np.float32), (5, 5))
    matches = (difference < _LARGEST_DIFFERENCE) & (abs(x - inside_x) <= 0.5) & (abs(y - inside_y) <= 0.5)
    if matches.mean() < _SMALLEST_MATCH:
        return now
    device = now.device
    places = np.stack(((2 * inside_x + 1) / width - 1, (2 * inside_y + 1) / height - 1), axis=-1)  # (H,W,2) in -1..1
    average = F.grid_sample(before, torch.from_numpy(places)[None].to(device), align_corners=False)  # (1,C,H,W)
    weight = torch.from_numpy(_KEPT * matches.astype(np.float32)).to(device)
    return Probabilities(average.sub_(now).mul_(weight).add_(now))


def _flow(grey: np.ndarray, grey_before: np.ndarray) -> np.ndarray:
    """Return where each pixel was in the frame before: its way (H,W,2) there, right and down."""
    height, width = grey.shape
    missing = max(0, _SMALLEST_SIDE - height), max(0, _SMALLEST_SIDE - width)
    if any(missing):
        grey, grey_before = (
            cv2.copyMakeBorder(frame, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
            for frame in (grey, grey_before)
        )
    dense_flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return dense_flow.calc(grey, grey_before, None)[:height, :width]  # type: ignore[call-overload]
