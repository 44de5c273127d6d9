"""From a network to class ids at test time: functions from images (B,3,H,W), RGB in 0..255, to score maps.

The largest sum of a pixel's scores is its class. Whatever adds maps takes such a function and gives one, so that
``sliding_window(multiscale(flip(maps), scales), window)`` does what it says; ``segment`` adds up and decides.

Log-probabilities are logits less one number a pixel, the same for all classes. Neither resizing nor adding up changes
that, so the sum of logits decides as that of log-probabilities does.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdla.inference.placement import Resize, Window, starts
from segdla.inference.scores import Kept, ScoreMap, Summed, classify, strips

Predictor = Callable[[Tensor], Tensor]  # images to logits, or to class ids
Maps = Callable[[Tensor], Iterator[ScoreMap]]


def in_precision(model: nn.Module, device: torch.device, precision: str) -> Predictor:
    """The model as a function from images to float32 logits, computed in a precision: autocast where it is a half."""
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)

    def forward(images: Tensor) -> Tensor:
        with torch.autocast(device.type, half, enabled=half is not None):
            return model(images).float()

    return forward


def maps_of(model: Predictor, stride: int, merge: str = "logprobs") -> Maps:
    """The map of a model that gives logits (B,C,h,w) at a stride, of images that it pads at the bottom and right.

    ``merge`` says what is summed: ``probs``, or what decides alike, ``logprobs`` and ``logits``.
    """

    def as_map(logits: Tensor, size: tuple[int, int]) -> ScoreMap:
        placements = [(Resize(side, side * stride),) if stride > 1 else () for side in logits.shape[-2:]]
        scores = ScoreMap(logits, size, *placements)
        return ScoreMap(scores, size) if merge == "probs" else scores

    def predict(images: Tensor) -> Iterator[ScoreMap]:
        yield as_map(model(images).float(), tuple(images.shape[-2:]))  # and keep no name for it, nor the memory

    return predict


def flip(maps: Maps) -> Maps:
    """The maps of the left-right mirrored images too."""

    def flipped(images: Tensor) -> Iterator[ScoreMap]:
        others = maps(images.flip(-1))
        for plain in maps(images):
            mirrored = next(others)
            if plain.fills_its_width:  # one map does for both
                _add_mirrored(plain.values, mirrored.values)
                del mirrored
                yield plain
            else:
                yield plain
                yield mirrored.mirrored()

    return flipped


def _add_mirrored(scores: Tensor, mirrored: Tensor) -> None:
    for part, mirrored_part in zip(scores.split(64, dim=2), mirrored.split(64, dim=2), strict=True):
        part.add_(mirrored_part.flip(-1))  # by strips, because torch mirrors by copying


def multiscale(maps: Maps, scales: Sequence[float]) -> Maps:
    """The maps of the images at several scales: the largest first, while none is kept yet."""

    def scaled(images: Tensor) -> Iterator[ScoreMap]:
        size = tuple(images.shape[-2:])
        for scale in sorted(scales, reverse=True):
            yield from map(partial(ScoreMap.resized, size=size), maps(_resize_images(images, scale)))

    return scaled


def sliding_window(maps: Maps, window: tuple[int, int], overlap: float = 0.25) -> Maps:
    """The maps of windows of (height, width) that overlap by a share, in which they fade into each other.

    A window larger than the images is theirs; the last one of a row or column is pulled back to the edge. Outermost,
    it keeps memory from growing with the images' height: what lies above a row of windows is decided before it.
    """

    def windowed(images: Tensor) -> Iterator[ScoreMap]:
        size = tuple(images.shape[-2:])
        grid = []
        for side, length in zip(window, size, strict=True):
            side = min(side, length)
            places = starts(length, side, overlap)
            grid.append([Window(places, side, round(side * overlap), index) for index in range(len(places))])
        for row in grid[0]:
            for column in grid[1]:
                part = images[..., row.start : row.stop, column.start : column.stop]
                yield from map(partial(ScoreMap.placed, rows=row, columns=column, size=size), maps(part))

    return windowed


def _resize_images(images: Tensor, scale: float) -> Tensor:
    """Images (B,3,H,W) resized bicubically, as bytes like themselves: floats would be four times as large."""
    if scale == 1:
        return images
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    resized = images.new_empty((*images.shape[:2], *size), dtype=torch.uint8)
    for channel in range(images.shape[1]):
        plane = images[:, channel : channel + 1].float()
        plane = F.interpolate(plane, size=size, mode="bicubic", align_corners=False, antialias=True)
        resized[:, channel : channel + 1] = plane.round_().clamp_(0, 255)  # bicubic overshoots at edges
    return resized


def segment(
    maps: Maps,
    images: Tensor,
    low_memory: bool = False,
    conclude: Callable[[Tensor], Tensor] = classify,
) -> Tensor:
    """Images (B,3,H,W) to class ids (B,H,W) uint8, or to what else ``conclude`` makes of sums (B,C,h,W) of scores.

    ``low_memory`` keeps the maps, where otherwise their sum is kept at full size; the ids are the same.
    """
    sums = Kept(conclude) if low_memory else Summed(conclude)
    concluded = []
    for scores in maps(images):
        top, _ = next(strips(scores, *scores.span))
        if top > sums.first:  # no map to come reaches above this one
            concluded.append(sums.decide(top))
        sums.add(scores)
        del scores  # or it would stay alive while the network computes the next
    concluded.append(sums.decide(images.shape[-2]))
    return torch.cat(concluded, dim=-2)
