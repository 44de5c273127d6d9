"""A trained network, ready to predict."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segdla import build
from segdla import config as configs
from segdla.build.learning import compiled
from segdla.checkpoint import find_checkpoint, read_weights
from segdla.config import Config
from segdla.errors import UserError
from segdla.export import SUFFIXES, open_exported
from segdla.inference.predictors import (
    Maps,
    Predictor,
    flip,
    in_precision,
    maps_of,
    multiscale,
    segment,
    sliding_window,
)
from segdla.inference.scores import classify
from segdla.models.fold import folded
from segdla.models.segmenter import at_image_size


@dataclass(frozen=True)
class Trained:
    """A trained network, whatever computes it.

    ``logits`` takes images (B,3,H,W), RGB in 0..255, on ``device``, to float32 logits (B,C,h,w) at ``stride``, of the
    images padded at the bottom and the right. ``card`` is what its file says of it: classes, palette, scores.
    """

    logits: Predictor
    stride: int
    config: Config
    card: dict[str, Any]
    path: Path
    device: torch.device
    precision: str

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.card["classes"])

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(map(tuple, self.card["palette"]))


def open_trained(
    place: str | Path | None = None,
    device_name: str = "auto",
    runs: Path = Path("runs"),
    overrides: Sequence[str] = (),
    *,
    as_trained: bool = False,
) -> Trained:
    """The network of a run, a checkpoint, an exported file, or (None) of the newest run.

    ``overrides`` change its config. ``as_trained``: a checkpoint's network computes as it did in training, to the last
    bit; else as ``build.for_prediction`` makes it, faster, where near ties may change sides.
    """
    path = find_checkpoint(None if place is None else str(place), runs)
    on = build.device(device_name)
    if path.suffix in SUFFIXES:
        build.precision("fp32", on)  # what is not written into the file
        opened = open_exported(path, on)
        config = configs.parse(opened.card["config"], overrides, source=str(path))
        if any(override.startswith("train.precision=") for override in overrides):
            raise UserError(f"{path} computes in {opened.precision}, as it was exported; leave the precision out")
        if any(override.startswith("eval.compile=") for override in overrides):
            raise UserError(f"{path} is compiled by its own runtime, or not at all; leave compile out")
        return Trained(opened.logits, opened.stride, config, opened.card, path, opened.device, opened.precision)
    checkpoint = read_weights(path)
    config = configs.parse(checkpoint.card["config"], overrides, source=str(path))
    precision = build.precision(config.train.precision, on)
    network = build.trained(checkpoint, config, on)
    if not as_trained:
        network = folded(network) if config.eval.compile else build.for_prediction(network, on, precision)
    forward = compiled(network.logits, on, dynamic=True) if config.eval.compile else network.logits
    logits = in_precision(forward, on, precision)
    return Trained(logits, network.output_stride, config, checkpoint.card, checkpoint.path, on, precision)


def predictor(
    trained: Trained,
    *,
    scales: tuple[float, ...] = (1.0,),
    with_flip: bool = False,
    window: tuple[int, int] | None = None,
) -> Predictor:
    """What a network becomes at test time: a function from images (B,3,H,W) to class ids (B,H,W) uint8."""
    if _seen_once(trained, scales, with_flip, window):
        return lambda images: classify(_full_size(trained, images))
    return partial(
        segment, _maps(trained, scales, with_flip, window), conclude=classify, low_memory=trained.config.eval.low_memory
    )


def scorer(
    trained: Trained,
    *,
    scales: tuple[float, ...] = (1.0,),
    with_flip: bool = False,
    window: tuple[int, int] | None = None,
) -> Predictor:
    """A function from images (B,3,H,W) to probabilities (B,C,H,W), the highest of which is what ``predictor`` decides.

    Over scales and mirrored images they are the mean where ``eval.merge`` is probs, else the normalised geometric mean.
    """
    if _seen_once(trained, scales, with_flip, window):
        return lambda images: _full_size(trained, images).softmax(dim=1)
    num_maps = len(scales) * (2 if with_flip else 1)  # windows share a pixel out, so that all of them are one map

    def mean(total: Tensor) -> Tensor:
        total = total / num_maps
        return total if trained.config.eval.merge == "probs" else total.softmax(dim=1)

    return partial(
        segment, _maps(trained, scales, with_flip, window), conclude=mean, low_memory=trained.config.eval.low_memory
    )


def _seen_once(trained: Trained, scales: tuple[float, ...], with_flip: bool, window: tuple[int, int] | None) -> bool:
    return scales == (1.0,) and not with_flip and window is None and not trained.config.eval.low_memory


def _full_size(trained: Trained, images: Tensor) -> Tensor:
    return at_image_size(trained.logits(images), trained.stride, tuple(images.shape[-2:]))


def _maps(trained: Trained, scales: tuple[float, ...], with_flip: bool, window: tuple[int, int] | None) -> Maps:
    maps = maps_of(trained.logits, trained.stride, trained.config.eval.merge)
    if with_flip:
        maps = flip(maps)
    maps = multiscale(maps, scales)
    return sliding_window(maps, window, trained.config.eval.overlap) if window is not None else maps
