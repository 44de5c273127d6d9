"""A trained network, ready to predict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segdla import build
from segdla import config as configs
from segdla.build.learning import compiled
from segdla.build.predictor import predictor, scorer
from segdla.checkpoint import find_checkpoint, read_weights
from segdla.config import Config
from segdla.errors import UserError
from segdla.export import SUFFIXES, open_exported
from segdla.inference.predictors import Predictor, in_precision
from segdla.models.fold import folded


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
    def computing(self) -> str:
        """In what precision it computes, as a tool says it; an exported file's is its own, and nothing's substitute."""
        exported = self.path.suffix in SUFFIXES
        asked = self.precision if exported else self.config.train.precision
        return build.computed_in(asked, self.precision, self.device)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.card["classes"])

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(map(tuple, self.card["palette"]))

    def predictor(self, scales: tuple[float, ...] = (1.0,), with_flip: bool = False) -> Predictor:
        """A function from images (B,3,H,W) to class ids (B,H,W) uint8."""
        return predictor(self.logits, self.stride, self.config.eval, scales, with_flip)

    def scorer(self, scales: tuple[float, ...] = (1.0,), with_flip: bool = False) -> Predictor:
        """A function from images (B,3,H,W) to probabilities (B,C,H,W); ``predictor`` decides for the highest."""
        return scorer(self.logits, self.stride, self.config.eval, scales, with_flip)


def open_trained(
    place: str | Path | None = None,
    device_name: str = "auto",
    runs: Path = Path("runs"),
    overrides: Sequence[str] = (),
    *,
    as_trained: bool = False,
) -> Trained:
    """The network of a run, a checkpoint, an exported file, or (None) of the newest run.

    ``overrides`` change its config. ``as_trained``: a checkpoint's network computes as it did in training; else as
    ``build.for_prediction`` makes it, faster, where near ties may change sides.
    """
    path = find_checkpoint(None if place is None else str(place), runs)
    on = build.device(device_name)
    if path.suffix in SUFFIXES:
        build.precision("fp32", on)  # what is not written into the file
        opened = open_exported(path, on)
        config = configs.parse(opened.card["config"], overrides, source=str(path))
        if any(override.startswith(("model.", "model=")) for override in overrides):
            raise UserError(f"{path} is the network that was exported; leave model.* out, or name the run it came from")
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
        network = network.to(memory_format=torch.channels_last)
        network = folded(network) if config.eval.compile else build.for_prediction(network, on, precision)
    forward = compiled(network.logits, on, dynamic=True) if config.eval.compile else network.logits
    logits = in_precision(forward, on, precision)
    return Trained(logits, network.output_stride, config, checkpoint.card, checkpoint.path, on, precision)
