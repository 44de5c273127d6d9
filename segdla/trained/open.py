"""Open a trained network: a run, a checkpoint or an exported file, whatever computes it."""

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from segdla.checkpoints.checkpoint import Card, read_card, read_checkpoint
from segdla.checkpoints.find import Found, find_checkpoint
from segdla.checkpoints.from_config import restored
from segdla.config import Config, parse
from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.export.formats import is_exported, open_file, read_card_of
from segdla.inference.from_config import Predictor, head_of
from segdla.inference.head import Head
from segdla.inference.predictors import LogitsOf
from segdla.machine.device import Machine, choose_device, compiled, in_precision, start
from segdla.models.dlaseg import DLASeg
from segdla.models.fold import folded, for_prediction

Size = tuple[int, int] | None  # (height, width)
WindowSetting = tuple[int, int] | Literal["auto", "whole"]
"""(height, width) of overlapping windows; ``whole``: no windows; ``auto``: windows for large images only."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network, whatever computes it.

    ``logits_of`` takes images (B,3,H,W), RGB in 0..255, on ``device``, and gives float32 logits (B,C,h,w) at ``stride``
    of the images padded at the bottom and the right. ``model`` is the network behind it; None if a runtime computes.
    ``overrides`` were applied to the config; ``own_model`` is the network that the caller handed in, untouched.
    ``only_size`` is the (height, width) of images that a file is for; None if it takes any.
    """

    logits_of: LogitsOf
    stride: int
    config: Config
    card: Card
    origin: Found
    machine: Machine
    overrides: Mapping[str, Any]
    model: DLASeg | None = None
    own_model: DLASeg | None = None
    only_size: Size = None

    def __post_init__(self) -> None:
        if self.config.eval.temperature == "fitted" and self.card.temperature is None:
            raise UserError(
                f"{self.path} has no fitted temperature; let segdla test --fit-temperature fit it, or leave "
                "eval.temperature out"
            )

    @property
    def temperature(self) -> float:
        """The divisor of the logits: the config's, or the one that was fitted; 1 without either."""
        setting = self.config.eval.temperature
        return (self.card.temperature if setting == "fitted" else setting) or 1.0

    @property
    def head(self) -> Head:
        """The way from its logits to classes, with the thresholds that were fitted."""
        return head_of(self.config, self.classes, self.card.thresholds)

    @property
    def path(self) -> Path:
        """The file that holds the network."""
        return self.origin.path

    @property
    def device(self) -> torch.device:
        """The device that it computes on."""
        return self.machine.device

    @property
    def classes(self) -> Classes:
        """The classes that it knows."""
        return self.card.classes

    def predictor(self, scales: tuple[float, ...] = (1.0,), flip: bool = False) -> Predictor:
        """Return a predictor that sums over scales and, with ``flip``, over mirrored images."""
        settings = self.config.eval, scales, flip, self.temperature
        return Predictor(self.logits_of, self.stride, *settings, self.head)


def open_trained(
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    runs: Path = Path("runs"),
    overrides: Mapping[str, Any] | None = None,
    *,
    as_trained: bool = False,
    for_photographs: bool = False,
    whole_images: bool = False,
    model: DLASeg | None = None,
) -> TrainedNetwork:
    """Open a run, a checkpoint or an exported file; without a name, the default of ``find_checkpoint``.

    ``overrides`` change its config. With ``as_trained`` a checkpoint's network computes as it did in training; else in
    its fastest form, in which near ties may change sides. ``whole_images`` is for networks that label these, which are
    refused otherwise. ``model`` takes the place of the network that the config describes; it is copied, and the copy
    gets the checkpoint's weights.

    Raises UserError if the network is missing or something does not fit.
    """
    origin = find_checkpoint(checkpoint, runs, for_photographs=for_photographs)
    overrides = overrides or {}
    chosen = choose_device(device)
    if is_exported(origin.path):
        return _open_exported(origin, chosen, overrides, whole_images)
    content = read_checkpoint(origin.path)
    if not whole_images:
        content.card.classes.require_masks(origin.path)
    config = parse(content.card.config, overrides, source=str(origin.path))
    machine = start(chosen, config.train.precision)
    network = restored(content, config, machine.device, copy.deepcopy(model))
    if not as_trained:
        network = network.to(memory_format=torch.channels_last)
        network = folded(network) if config.eval.compile else for_prediction(network, machine.device, machine.precision)
    forward = compiled(network.logits, machine.device, dynamic=True) if config.eval.compile else network.logits
    logits_of = in_precision(forward, machine.device, machine.precision)
    stride, card = network.output_stride, content.card
    return TrainedNetwork(logits_of, stride, config, card, origin, machine, overrides, network, model)


def labels_whole_images(
    checkpoint: str | os.PathLike[str] | None, runs: Path = Path("runs"), *, for_photographs: bool = False
) -> bool:
    """Return whether a checkpoint, or the default one, labels whole images. Raises UserError if there is none."""
    path = find_checkpoint(checkpoint, runs, for_photographs=for_photographs).path
    card = read_card_of(path) if is_exported(path) else read_card(path)
    return card.classes.whole_images


def _open_exported(
    origin: Found, device: torch.device, overrides: Mapping[str, Any], whole_images: bool
) -> TrainedNetwork:
    path = origin.path
    exported = open_file(path, device)
    if not whole_images:
        exported.card.classes.require_masks(path)
    config = parse(exported.card.config, overrides, source=str(path))
    if exported.card.classes.whole_images:
        if config.data.crop != exported.size:
            assert exported.size is not None, "a file for whole images is for one size"
            height, width = exported.size
            raise UserError(f"{path} sees images of {height}x{width}, as it was exported; leave data.crop out")
    elif exported.size is not None:
        config = _by_windows(config, exported.size, path, overrides)
    if any(key.split(".")[0] == "model" for key in overrides):
        raise UserError(f"{path} is the network that was exported; leave model.* out, or name the run it came from")
    if "train.precision" in overrides:
        raise UserError(f"{path} computes in {exported.precision}, as it was exported; leave the precision out")
    if "eval.compile" in overrides:
        raise UserError(f"{path} is compiled by its own runtime, or not at all; leave compile out")
    start(exported.device, "fp32")  # for what the file does not compute
    machine = Machine(exported.device, exported.precision, exported.precision)
    return TrainedNetwork(
        exported.logits_of,
        exported.stride,
        config,
        exported.card,
        origin,
        machine,
        overrides,
        only_size=exported.size,
    )


def _by_windows(config: Config, size: tuple[int, int], path: Path, overrides: Mapping[str, Any]) -> Config:
    """Return the config with windows that fit a file for one size. Raises UserError if those asked for do not."""
    window = overrides.get("eval.window")
    if window is None or window == "auto":
        window = size
    if window == "whole" or any(side > most for side, most in zip(window, size, strict=True)):
        raise UserError(f"{path} sees {size[0]}x{size[1]} pixels at a time; leave the window out, or make it smaller")
    return config.model_copy(update={"eval": config.eval.model_copy(update={"window": tuple(window)})})
