"""Test-time prediction: functions from images (B,3,H,W), RGB in 0..255, to score maps.

A pixel's class is the one with the largest sum over all maps. Every step that adds maps takes such a function and
returns one, so that ``sliding_window(multiscale(flip(maps), scales), window)`` does what it says. ``segment`` adds up
and decides.

Log-probabilities are logits less one number a pixel, the same for all classes. Neither resizing nor adding up changes
that, so sums of logits and sums of log-probabilities choose the same classes.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from segdla.inference.placement import Resize, Window, starts
from segdla.inference.score_maps import Conclude, Logits, MapList, RunningSum, ScoreMap, classify, softmax, strips

LogitsOf = Callable[[Tensor], Tensor]
"""From images (B,3,H,W), RGB in 0..255, to ``Logits``, of the images padded at the bottom and the right."""

Maps = Callable[[Tensor], Iterator[ScoreMap]]
"""From images (B,3,H,W), RGB in 0..255, to their score maps."""


def maps_of(logits_of: LogitsOf, stride: int, merge: str = "logprobs", activate: Conclude = softmax) -> Maps:
    """Return the function from images to the one map that a network of this stride computes.

    ``merge`` says what is summed: ``probs``, as ``activate`` gives them, or ``logprobs`` and ``logits``, which choose
    the same classes.
    """

    def as_map(logits: Logits, size: tuple[int, int]) -> ScoreMap:
        rows, columns = ((Resize(side, side * stride),) if stride > 1 else () for side in logits.shape[-2:])
        score_map = ScoreMap(logits, size, rows, columns)
        return ScoreMap(score_map, size, activate=activate) if merge == "probs" else score_map

    def predict(images: Tensor) -> Iterator[ScoreMap]:
        height, width = images.shape[-2:]
        yield as_map(Logits(logits_of(images).float()), (height, width))  # a variable would keep it in memory

    return predict


def flip(maps: Maps) -> Maps:
    """Add the maps of the images mirrored left to right."""

    def flipped(images: Tensor) -> Iterator[ScoreMap]:
        others = maps(images.flip(-1))
        for plain in maps(images):
            mirrored = next(others)
            if plain.fills_its_width:  # one map does for both
                _add_mirrored(plain, mirrored)
                del mirrored
                yield plain
            else:
                yield plain
                yield mirrored.mirrored()

    return flipped


def _add_mirrored(plain: ScoreMap, mirrored: ScoreMap) -> None:
    """Add the logits of a mirrored map to those of another, in place."""
    assert isinstance(plain.values, Tensor) and isinstance(mirrored.values, Tensor), "maps of probabilities"
    # By strips, because torch mirrors by copying.
    for part, mirrored_part in zip(plain.values.split(64, dim=2), mirrored.values.split(64, dim=2), strict=True):
        part.add_(mirrored_part.flip(-1))


def multiscale(maps: Maps, scales: Sequence[float]) -> Maps:
    """Make the maps of the images at several scales, largest first, while memory is still empty."""

    def scaled(images: Tensor) -> Iterator[ScoreMap]:
        height, width = images.shape[-2:]
        for scale in sorted(scales, reverse=True):
            yield from map(partial(ScoreMap.resized, size=(height, width)), maps(_resize_images(images, scale)))

    return scaled


def sliding_window(maps: Maps, window: tuple[int, int], overlap: float = 0.25) -> Maps:
    """Make the maps of windows of (height, width), which fade into each other over ``overlap``, a fraction of them.

    A window is never larger than the images, and the last one of a row or column is pulled back to the edge. As the
    outermost step it keeps memory from growing with the images' height: rows above all windows to come are decided.
    """

    def windowed(images: Tensor) -> Iterator[ScoreMap]:
        height, width = images.shape[-2:]
        grid = []
        for side, length in zip(window, (height, width), strict=True):
            side = min(side, length)
            tops = starts(length, side, overlap)
            grid.append([Window(tops, side, round(side * overlap), index) for index in range(len(tops))])
        for row in grid[0]:
            for column in grid[1]:
                part = images[..., row.start : row.stop, column.start : column.stop]
                yield from map(partial(ScoreMap.placed, rows=row, columns=column, size=(height, width)), maps(part))

    return windowed


def _resize_images(images: Tensor, scale: float) -> Tensor:
    """Resize images (B,3,H,W) bicubically, to uint8: float32 would be four times as large."""
    if scale == 1:
        return images
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    resized = images.new_empty((*images.shape[:2], *size), dtype=torch.uint8)
    for channel in range(images.shape[1]):
        plane = images[:, channel : channel + 1].float()
        plane = F.interpolate(plane, size=size, mode="bicubic", align_corners=False, antialias=True)
        resized[:, channel : channel + 1] = plane.round_().clamp_(0, 255)  # bicubic overshoots at edges
    return resized


def segment(maps: Maps, images: Tensor, low_memory: bool = False, conclude: Conclude = classify) -> Tensor:
    """Return the class ids (B,H,W) uint8 of images (B,3,H,W), or whatever ``conclude`` returns for the sums.

    ``low_memory`` keeps the maps in memory instead of their sum at full size; the class ids are the same.
    """
    sums = MapList(conclude) if low_memory else RunningSum(conclude)
    conclusions = []
    for score_map in maps(images):
        top, _ = next(strips(score_map, *score_map.span))
        if top > sums.first:  # no map to come reaches above this one
            conclusions.append(sums.decide(top))
        sums.add(score_map)
        del score_map  # else it would stay alive while the network computes the next
    conclusions.append(sums.decide(images.shape[-2]))
    return torch.cat(conclusions, dim=-2)
