"""A trained network, ready to predict."""

from functools import partial
from pathlib import Path

import torch

from segdla import build
from segdla import config as configs
from segdla.checkpoint import find_checkpoint, read_weights
from segdla.config import Config
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
from segdla.models.segmenter import DLASeg


def predictor(
    config: Config,
    network: DLASeg,
    on: torch.device,
    *,
    scales: tuple[float, ...] = (1.0,),
    with_flip: bool = False,
    window: tuple[int, int] | None = None,
) -> Predictor:
    """What a network becomes at test time: a function from images (B,3,H,W) to class ids (B,H,W) uint8."""
    computing, e = build.precision(config.train.precision, on), config.eval
    if scales == (1.0,) and not with_flip and window is None and not e.low_memory:
        forward = in_precision(network, on, computing)
        return lambda images: classify(forward(images))
    predict = maps_of(in_precision(network.logits, on, computing), config.model.output_stride, e.merge)
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
    checkpoint = read_weights(find_checkpoint(None if place is None else str(place), runs))
    config = configs.parse(checkpoint.card["config"], source=str(checkpoint.path))
    on = build.device(device_name)
    predict = predictor(config, build.trained(checkpoint, config, on), on, window=window)
    palette = tuple(map(tuple, checkpoint.card["palette"]))
    return Segmenter(predict, tuple(checkpoint.card["classes"]), palette, on, checkpoint.path)
