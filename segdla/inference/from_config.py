"""From the config to a head, and to a predictor: at several scales, mirrored, by windows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from segdla.config import Config, EvalConfig
from segdla.data.source import Classes
from segdla.inference.head import SOFTMAX, Head, Overlapping, Sigmoid, WholeImage
from segdla.inference.predictors import LogitsOf, Maps, flip, maps_of, multiscale, segment, sliding_window
from segdla.inference.score_maps import ClassIds, Conclude, Probabilities, grain
from segdla.inference.smoothing import smooth
from segdla.models.dlaseg import at_image_size

LARGE = 2160 * 3840
"""Pixels above which images are predicted by windows.

An image of this size needs 4 GB with DLA-34 at output stride 2, in float32.
"""
LARGE_WINDOW = (1024, 2048)


def head_of(config: Config, classes: Classes, thresholds: Sequence[float] = ()) -> Head:
    """Return the head of the config's network; ``thresholds`` are those that were fitted, if they were.

    Raises UserError if the head is not for these classes.
    """
    config.model.require_head_for(len(classes), classes.overlapping)
    if config.model.head == "softmax":
        return WholeImage() if classes.whole_images else SOFTMAX
    number = len(classes) if classes.overlapping else 1
    threshold = config.eval.threshold
    own = tuple(thresholds) if thresholds and threshold is None else (threshold or 0.5,) * number
    return Overlapping(own) if classes.overlapping else Sigmoid(*own)


def num_logits(config: Config, classes: Classes) -> int:
    """Return the number of logits of the config's network. Raises UserError if its head is not for these classes."""
    return head_of(config, classes).num_logits(len(classes))


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
    head: Head = SOFTMAX

    def class_ids(self, images: Tensor) -> ClassIds:
        """Return the class ids (B,H,W) uint8."""
        return ClassIds(self._conclude(images, self.head.decide, self._decide))

    def probabilities(self, images: Tensor) -> Probabilities:
        """Return the probabilities (B,C,H,W) float32 from which the class ids follow.

        Over scales and mirrored images they are the mean if ``settings.merge`` is ``probs``, else the normalised
        geometric mean.
        """
        return Probabilities(self._conclude(images, self._probabilities, self._mean))

    def smoothed(self) -> Callable[[Tensor], ClassIds]:
        """Return a function like ``class_ids`` that a video's frames (1,3,H,W) go through in turn; see ``smooth``."""
        probabilities = smooth(self.probabilities)
        return lambda frames: self.head.decide(probabilities(frames), of_probabilities=True)

    def both(self, images: Tensor) -> tuple[ClassIds, Probabilities]:
        """Return the class ids and the probabilities, computed in one pass."""

        def stack(class_ids: Tensor, probabilities: Tensor) -> Tensor:
            return torch.cat([probabilities, class_ids[:, None]], dim=1)  # float32 holds ids exactly

        stacked = self._conclude(  # (B,C+1,H,W)
            images,
            lambda logits: stack(self.head.decide(logits), self._probabilities(logits)),
            lambda sums: stack(self._decide(sums), self._mean(sums)),
        )
        return ClassIds(stacked[:, -1].to(torch.uint8)), Probabilities(stacked[:, :-1])

    def ids_and_confidence(self, images: Tensor) -> Tensor:
        """Return the class ids and their probabilities, stacked (B,2,H,W) float32; those of other classes go by strips.

        A float32 holds ids exactly.
        """

        def both(values: Tensor, decide: Conclude, probabilities: Conclude) -> Tensor:
            class_ids = decide(values)
            stacked = values.new_empty(len(values), 2, *values.shape[2:], dtype=torch.float32)
            stacked[:, 0] = class_ids
            height = grain(values.device)[0]
            parts = (tensor.split(height, dim=-2) for tensor in (stacked[:, 1], values, class_ids))
            for part, strip, ids in zip(*parts, strict=True):
                part.copy_(self.head.confidence(probabilities(strip), ids))
            return stacked

        return self._conclude(
            images,
            lambda logits: both(logits, self.head.decide, self._probabilities),
            lambda sums: both(sums, self._decide, self._mean),
        )

    def levels(self, images: Tensor) -> Tensor:
        """Return the probabilities (B,C,H,W) uint8 in steps of 1/255, a quarter of the memory, computed by strips."""
        maps = self._maps_by_window(images)
        return segment(maps, images, True, lambda sums: self._mean(sums).mul_(255).round_().to(torch.uint8))

    def _decide(self, sums: Tensor) -> ClassIds:
        return self.head.decide(sums, self._number, of_probabilities=self.settings.merge == "probs")

    def _mean(self, sums: Tensor) -> Tensor:
        mean = sums / self._number  # over windows, the weights add up to 1
        if self.settings.merge != "probs":
            return self._probabilities(mean)
        return mean if self.temperature == 1 else self._probabilities(self.head.logits(mean))

    def _probabilities(self, logits: Tensor) -> Tensor:
        return self.head.probabilities(logits if self.temperature == 1 else logits / self.temperature)

    @property
    def _number(self) -> int:
        """The number of maps that a pixel's values are summed over."""
        return len(self.scales) * (2 if self.mirrored else 1)

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
        maps = maps_of(self.logits_of, self.stride, self.settings.merge, self.head.probabilities)
        return multiscale(flip(maps) if self.mirrored else maps, self.scales)
