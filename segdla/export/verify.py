"""Whether an exported network computes what the network did."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segdla.export.graph import Opened
from segdla.inference.scores import classify
from segdla.models.segmenter import DLASeg, at_image_size

SIZES = ((20, 31), (128, 160), (97, 131), (360, 480))
LARGEST_DIFFERENCE = 1e-3
"""Of logits, as a share of the largest: float32 sums in another order stay below a tenth of it."""
MOST_DIFFERING = 1e-3
"""Share of pixels whose class may differ: near ties."""


class Difference(NamedTuple):
    size: tuple[int, int]
    logits: float  # the largest difference, ...
    largest: float  # ... and the largest logit
    differing: int  # pixels of another class, ...
    pixels: int  # ... of so many

    @property
    def small(self) -> bool:
        return self.logits <= LARGEST_DIFFERENCE * self.largest and self.differing <= MOST_DIFFERING * self.pixels


def pictures(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Tensor]:
    """Images (1,3,H,W) uint8 of several sizes, random and smooth, as photographs are."""
    random = torch.Generator().manual_seed(0)
    made = []
    for size in sizes:
        coarse = torch.rand(1, 3, *(-(-side // 8) for side in size), generator=random)
        made.append((255 * F.interpolate(coarse, size=size, mode="bilinear")).to(torch.uint8))
    return made


@torch.inference_mode()
def differences(network: DLASeg, opened: Opened, images: Sequence[Tensor]) -> list[Difference]:
    """What an exported network gives beside the network itself, on images (1,3,H,W) uint8, on the CPU."""
    found = []
    for image in images:
        size = tuple(image.shape[-2:])
        ours, theirs = network.logits(image), opened.logits(image)
        ids, their_ids = (classify(at_image_size(logits, opened.stride, size)) for logits in (ours, theirs))
        found.append(
            Difference(
                size,
                float((ours - theirs).abs().max()),
                float(ours.abs().max()),
                int((ids != their_ids).sum()),
                int(np.prod(size)),
            )
        )
    return found
