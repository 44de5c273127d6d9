"""From the config's ``eval`` section to a predictor: at several scales, mirrored, by windows."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from segdla.config import EvalConfig
from segdla.inference.predictors import LogitsOf, Maps, flip, maps_of, multiscale, segment, sliding_window
from segdla.inference.score_maps import ClassIds, Conclude, Probabilities, classify, log_probabilities, with_confidence
from segdla.models.dlaseg import at_image_size

LARGE = 2160 * 3840
"""Pixels above which images are predicted by windows.

An image of this size needs 4 GB with DLA-34 at output stride 2, in float32.
"""
LARGE_WINDOW = (1024, 2048)


@dataclass(frozen=True)
class Predictor:
    """Images (B,3,H,W) to class ids or to probabilities; built once, used for any number of images of any size.

    ``logits_of`` returns the logits, at ``stride``, of the images padded at the bottom and the right. Over several
    ``scales`` and over mirrored images (``mirrored``), score maps are summed as ``settings.merge`` says. Probabilities,
    not class ids, depend on the ``temperature`` that divides the logits.
    """

    logits_of: LogitsOf
    stride: int
    settings: EvalConfig
    scales: tuple[float, ...] = (1.0,)
    mirrored: bool = False
    temperature: float = 1.0

    def class_ids(self, images: Tensor) -> ClassIds:
        """Return the class ids (B,H,W) uint8."""
        return ClassIds(self._conclude(images, classify, classify))

    def probabilities(self, images: Tensor) -> Probabilities:
        """Return the probabilities (B,C,H,W) float32, the highest of which is the class id's.

        Over scales and mirrored images they are the mean if ``settings.merge`` is ``probs``, else the normalised
        geometric mean.
        """
        return Probabilities(self._conclude(images, self._softmax, self._mean))

    def both(self, images: Tensor) -> tuple[ClassIds, Probabilities]:
        """Return the class ids and the probabilities, computed in one pass."""

        def stack(values: Tensor, probabilities: Tensor) -> Tensor:
            return torch.cat([probabilities, classify(values)[:, None]], dim=1)  # float32 holds ids exactly

        stacked = self._conclude(  # (B,C+1,H,W)
            images, lambda logits: stack(logits, self._softmax(logits)), lambda sums: stack(sums, self._mean(sums))
        )
        return ClassIds(stacked[:, -1].to(torch.uint8)), Probabilities(stacked[:, :-1])

    def ids_and_confidence(self, images: Tensor) -> Tensor:
        """Return the class ids and their probabilities, stacked (B,2,H,W) float32; those of other classes go by strips.

        A float32 holds ids exactly.
        """
        return self._conclude(
            images,
            lambda logits: with_confidence(logits, self._softmax),
            lambda sums: with_confidence(sums, self._mean),
        )

    def levels(self, images: Tensor) -> Tensor:
        """Return the probabilities (B,C,H,W) uint8 in steps of 1/255, a quarter of the memory, computed by strips."""
        maps = self._maps_by_window(images)
        return segment(maps, images, True, lambda sums: self._mean(sums).mul_(255).round_().to(torch.uint8))

    def _mean(self, sums: Tensor) -> Tensor:
        mean = sums / (len(self.scales) * (2 if self.mirrored else 1))  # over windows, the weights add up to 1
        if self.settings.merge != "probs":
            return self._softmax(mean)
        return mean if self.temperature == 1 else self._softmax(log_probabilities(mean))

    def _softmax(self, logits: Tensor) -> Tensor:
        return (logits if self.temperature == 1 else logits / self.temperature).softmax(dim=1)

    def _conclude(self, images: Tensor, conclude_logits: Conclude, conclude_sums: Conclude) -> Tensor:
        """Conclude from the logits at image size if there is only one map, else from the sums of the maps."""
        height, width = images.shape[-2:]
        maps, low_memory = self._maps_by_window(images), self.settings.low_memory
        if maps is self._maps and self.scales == (1.0,) and not self.mirrored and not low_memory:
            return conclude_logits(at_image_size(self.logits_of(images), self.stride, (height, width)))
        return segment(maps, images, low_memory, conclude_sums)

    def _maps_by_window(self, images: Tensor) -> Maps:
        """Return the maps of images of this size: by windows, if the settings say so, or it is large."""
        window = self.settings.window
        if window == "auto":
            height, width = images.shape[-2:]
            window = LARGE_WINDOW if height * width * max(self.scales) ** 2 > LARGE else "whole"
        return self._maps if isinstance(window, str) else sliding_window(self._maps, window, self.settings.overlap)

    @cached_property
    def _maps(self) -> Maps:
        maps = maps_of(self.logits_of, self.stride, self.settings.merge)
        return multiscale(flip(maps) if self.mirrored else maps, self.scales)
