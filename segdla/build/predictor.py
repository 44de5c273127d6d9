"""From a network's logits to what is wanted of images at test time: at several scales, mirrored, by windows."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from segdla.config import EvalConfig
from segdla.inference.predictors import Predictor, flip, maps_of, multiscale, segment, sliding_window
from segdla.inference.scores import classify
from segdla.models.segmenter import at_image_size

LARGE = 2160 * 3840  # pixels: seen whole, DLA-34 at stride 2 takes 4 GB for as many in float32
LARGE_WINDOW = (1024, 2048)


def predictor(
    logits: Predictor, stride: int, settings: EvalConfig, scales: tuple[float, ...] = (1.0,), with_flip: bool = False
) -> Predictor:
    """A function from images (B,3,H,W) to class ids (B,H,W) uint8.

    ``logits`` takes the images to logits (B,C,h,w) at ``stride``, of images that it pads at the bottom and the right.
    """
    return _concluding(classify, classify, logits, stride, settings, scales, with_flip)


def scorer(
    logits: Predictor, stride: int, settings: EvalConfig, scales: tuple[float, ...] = (1.0,), with_flip: bool = False
) -> Predictor:
    """A function from images (B,3,H,W) to probabilities (B,C,H,W), the highest of which is what ``predictor`` decides.

    Over scales and mirrored images they are the mean where ``settings.merge`` is probs, else the normalised geometric
    mean.
    """
    num_maps = len(scales) * (2 if with_flip else 1)  # windows share a pixel out, so that all of them are one map

    def mean(total: Tensor) -> Tensor:
        total = total / num_maps
        return total if settings.merge == "probs" else total.softmax(dim=1)

    return _concluding(partial(Tensor.softmax, dim=1), mean, logits, stride, settings, scales, with_flip)


def _concluding(
    conclude_logits: Callable[[Tensor], Tensor],
    conclude_sums: Callable[[Tensor], Tensor],
    logits: Predictor,
    stride: int,
    settings: EvalConfig,
    scales: tuple[float, ...],
    with_flip: bool,
) -> Predictor:
    maps = maps_of(logits, stride, settings.merge)
    maps = multiscale(flip(maps) if with_flip else maps, scales)
    seen_once = scales == (1.0,) and not with_flip and not settings.low_memory

    def run(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        window = settings.window
        if window == "auto":
            window = LARGE_WINDOW if height * width * max(scales) ** 2 > LARGE else "whole"
        if window != "whole":
            by_window = sliding_window(maps, window, settings.overlap)
            return segment(by_window, images, settings.low_memory, conclude_sums)
        if seen_once:  # there is nothing to add up
            return conclude_logits(at_image_size(logits(images), stride, (height, width)))
        return segment(maps, images, settings.low_memory, conclude_sums)

    return run
