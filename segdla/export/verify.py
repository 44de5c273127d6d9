"""Check that an exported network gives the same output as the network."""

import platform
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor

from segdla.export.graph import Exported
from segdla.inference.head import SOFTMAX, Head
from segdla.models.dlaseg import DLASeg, at_image_size

SIZES = ((20, 31), (128, 160), (97, 131), (360, 480))
LARGEST_DIFFERENCE = 1e-3
"""Difference of two logits, as a share of the largest one; reordering float32 sums causes less than a tenth of this."""
MOST_DIFFERING = 1e-3
"""Share of pixels that may get another class: near ties."""


class Difference(NamedTuple):
    """How far an exported network is from the network itself, on one image of (height, width)."""

    size: tuple[int, int]
    logits: float  # the largest difference of two logits, ...
    largest: float  # ... and the largest logit
    differing: int  # pixels of another class, ...
    pixels: int  # ... out of so many; of an image that is labelled as a whole, 1

    def __str__(self) -> str:
        height, width = self.size
        return (
            f"logits up to {self.largest:.3g} differ by {self.logits:.2g}, and the classes of {self.share}, at "
            f"{height}x{width}"
        )

    @property
    def share(self) -> str:
        """The pixels of another class among all, in words."""
        return f"{self.differing} of {self.pixels} {'pixels' if self.pixels > 1 else 'image'}"

    @property
    def is_small(self) -> bool:
        """True if rounding alone explains it."""
        return self.logits <= LARGEST_DIFFERENCE * self.largest and self.differing <= MOST_DIFFERING * self.pixels


def pictures(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Tensor]:
    """Return images (1,3,H,W) uint8 of several sizes, random and as smooth as photographs are."""
    random = torch.Generator().manual_seed(0)
    images = []
    for height, width in sizes:
        coarse = torch.rand(1, 3, -(-height // 8), -(-width // 8), generator=random)
        images.append((255 * F.interpolate(coarse, size=(height, width), mode="bilinear")).to(torch.uint8))
    return images


@torch.inference_mode()
def differences(
    network: DLASeg, exported: Exported, images: Sequence[Tensor], head: Head = SOFTMAX
) -> list[Difference]:
    """Compare an exported network with the network itself on images (1,3,H,W) uint8, on the CPU."""
    result = []
    for image in images:
        height, width = image.shape[-2:]
        ours, theirs = network.logits(image), exported.logits_of(image)
        class_ids, their_class_ids = (
            head.decide(at_image_size(logits, exported.stride, (height, width))) for logits in (ours, theirs)
        )
        result.append(
            Difference(
                (height, width),
                logits=float((ours - theirs).abs().max()),
                largest=float(ours.abs().max()),
                differing=int((class_ids != their_class_ids).sum()),
                pixels=class_ids.numel(),
            )
        )
    return result


def difference_table(differences: Sequence[Difference]) -> Table:
    """Return a table for the terminal, with a row for each image."""
    table = Table("images", "largest difference of logits", "of logits up to", "of another class")
    for d in differences:
        table.add_row(f"{d.size[0]}x{d.size[1]}", f"{d.logits:.2g}", f"{d.largest:.3g}", d.share)
    return table


def int8_arithmetic() -> str:
    """Return the arithmetic with which this processor adds 8-bit products: "AVX2 without VNNI", "aarch64", ..."""
    # Not every torch has this question.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if not capabilities.get("avx2"):
        return platform.machine()
    width = "AVX-512" if capabilities["avx512_f"] else "AVX2"
    has_vnni = any(capabilities.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))
    return f"{width} {'with' if has_vnni else 'without'} VNNI"
