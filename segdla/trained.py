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
from segdla.checkpoint import find_checkpoint, read_weights
from segdla.config import Config
from segdla.export import SUFFIXES, open_exported
from segdla.inference.predictors import (
    Predictor,
    Segmenter,
    flip,
    in_precision,
    maps_of,
    multiscale,
    segment,
    sliding_window,
)
from segdla.inference.scores import classify
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
) -> Trained:
    """The network of a run, a checkpoint, an exported file, or (None) of the newest run.

    ``overrides`` change its config.
    """
    path = find_checkpoint(None if place is None else str(place), runs)
    on = build.device(device_name)
    if path.suffix in SUFFIXES:
        opened = open_exported(path, on)
        config = configs.parse(opened.card["config"], overrides, source=str(path))
        return Trained(opened.logits, opened.stride, config, opened.card, path, on, opened.precision)
    checkpoint = read_weights(path)
    config = configs.parse(checkpoint.card["config"], overrides, source=str(path))
    precision = build.precision(config.train.precision, on)
    network = build.trained(checkpoint, config, on)
    logits = in_precision(network.logits, on, precision)
    return Trained(logits, network.output_stride, config, checkpoint.card, checkpoint.path, on, precision)


def predictor(
    trained: Trained,
    *,
    scales: tuple[float, ...] = (1.0,),
    with_flip: bool = False,
    window: tuple[int, int] | None = None,
) -> Predictor:
    """What a network becomes at test time: a function from images (B,3,H,W) to class ids (B,H,W) uint8."""
    e = trained.config.eval

    def plain(images: Tensor) -> Tensor:
        return classify(at_image_size(trained.logits(images), trained.stride, tuple(images.shape[-2:])))

    if scales == (1.0,) and not with_flip and window is None and not e.low_memory:
        return plain
    predict = maps_of(trained.logits, trained.stride, e.merge)
    if with_flip:
        predict = flip(predict)
    predict = multiscale(predict, scales)
    if window is not None:
        predict = sliding_window(predict, window, e.overlap)
    return partial(segment, predict, low_memory=e.low_memory)


def load(
    place: str | Path | None = None,
    device_name: str = "auto",
    runs: Path = Path("runs"),
    window: tuple[int, int] | None = None,
) -> Segmenter:
    """A trained network, from a run, a checkpoint, or (None) the newest run, as one object that predicts.

    ``window`` (height, width): of larger images, it sees overlapping windows.
    """
    trained = open_trained(place, device_name, runs)
    predict = predictor(trained, window=window)
    return Segmenter(predict, trained.classes, trained.palette, trained.device, trained.path)
