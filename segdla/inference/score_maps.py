"""Score maps: a network's logits at its own stride, brought onto the image, added up and decided strip by strip.

After a network's last layer every step is linear: upsampling, resizing, mirroring, blending. So none of them is done at
full size. A map keeps its values as they are, with the placements that bring its rows and its columns onto the image. A
strip of the image's values is then two matrix products.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NewType

import torch
import torch.nn.functional as F
from torch import Tensor

from segdla.inference.placement import Mirror, Placement, Resize, Window, band

Logits = NewType("Logits", Tensor)  # (B,C,h,w) float32 at a network's stride
Probabilities = NewType("Probabilities", Tensor)  # (B,C,H,W) float32 at the images' size, adding up to 1 over C
ClassIds = NewType("ClassIds", Tensor)  # (B,H,W) uint8

Conclude = Callable[[Tensor], Tensor]
"""Turns sums (B,C,h,W) of score maps, at the image's width, into what is wanted of these rows, such as class ids."""


def grain(device: torch.device) -> tuple[int, int]:
    """Return a strip's rows and a block's columns.

    They are small on a CPU, to fit its caches, and large on an accelerator, to keep it busy.
    """
    return (32, 128) if device.type == "cpu" else (256, 512)


def softmax(logits: Tensor) -> Tensor:
    """Return the probabilities (B,C,h,w) of classes with a logit each."""
    return logits.softmax(dim=1)


@dataclass(frozen=True)
class ScoreMap:
    """Values (B,C,h,w) at a network's stride, and their placement on an image.

    ``values`` are logits, or another map, which ``activate`` then turns into probabilities first. ``size`` is the
    image's.
    """

    values: "Logits | ScoreMap"
    size: tuple[int, int]
    rows: tuple[Placement, ...] = ()
    columns: tuple[Placement, ...] = ()
    activate: Conclude = softmax

    def placed(self, rows: Placement, columns: Placement, size: tuple[int, int]) -> "ScoreMap":
        """Return the map placed once more, on an image of ``size``."""
        return replace(self, size=size, rows=(*self.rows, rows), columns=(*self.columns, columns))

    def resized(self, size: tuple[int, int]) -> "ScoreMap":
        """Return the map of the image resized to ``size``."""
        if self.size == size:
            return self
        return self.placed(Resize(self.size[0], size[0]), Resize(self.size[1], size[1]), size)

    def mirrored(self) -> "ScoreMap":
        """Return the map of the image mirrored left to right."""
        return replace(self, columns=(*self.columns, Mirror(self.size[1])))

    @property
    def span(self) -> tuple[int, int]:
        """The first row of the image that the map may touch, and the row after the last."""
        outermost = self.rows[-1] if self.rows else None
        return (outermost.start, outermost.stop) if isinstance(outermost, Window) else (0, self.size[0])

    @property
    def fills_its_width(self) -> bool:
        """True if the map covers the full width, so it can be mirrored directly."""
        if isinstance(self.values, ScoreMap):
            return False
        width = self.values.shape[-1]
        for placement in self.columns:
            if not isinstance(placement, Resize) or placement.inner != width:
                return False
            width = placement.outer
        return width == self.size[1]

    def strip(self, top: int, bottom: int) -> Tensor:
        """Return the values (B,C,bottom-top,W) of rows top..bottom-1 of the image."""
        device, block = self.device, grain(self.device)[1]
        first, last, down = band(self.rows, top, bottom, device)
        if isinstance(self.values, ScoreMap):
            values = self.activate(self.values.strip(first, last))
        else:
            values = self.values[..., first:last, :]
        batch, classes, height, width = values.shape
        values = values.reshape(-1, width)  # (BCh,w)
        across = values.new_empty(len(values), self.size[1])  # (BCh,W)
        for left in range(0, self.size[1], block):
            right = min(left + block, self.size[1])
            begin, end, weights = band(self.columns, left, right, device)
            if device.type == "mps":  # before macOS 15 its mm can't write into a part of a tensor
                across[:, left:right] = values[:, begin:end] @ weights.T
            else:
                torch.mm(values[:, begin:end], weights.T, out=across[:, left:right])
        across = across.view(batch * classes, height, -1)  # (BC,h,W)
        return torch.bmm(down.expand(batch * classes, -1, -1), across).view(batch, classes, bottom - top, -1)

    @property
    def device(self) -> torch.device:
        """The device that the values are on."""
        return self.values.device


class RunningSum:
    """The sum of maps at full size, in place, for the rows from ``first`` on; one strip is alive beside it."""

    def __init__(self, conclude: Conclude):
        self.conclude = conclude
        self.first = 0
        self.total: Tensor | None = None  # (B,C,rows,W)

    def add(self, score_map: ScoreMap) -> None:
        """Add a map whose rows are all still undecided."""
        cells = list(strips(score_map, *score_map.span))
        for top, bottom in cells:
            assert top >= self.first, f"rows from {top} on, but those above {self.first} are decided"
            strip = score_map.strip(top, bottom)
            if self.total is None:
                self.total = strip.new_zeros(*strip.shape[:2], 0, strip.shape[3])
            missing = cells[-1][1] - self.first - self.total.shape[2]
            if missing > 0:
                self.total = F.pad(self.total, (0, 0, 0, missing))
            self.total[:, :, top - self.first : bottom - self.first].add_(strip)

    def decide(self, until: int) -> Tensor:
        """Return the conclusion for the rows above ``until``, and drop them."""
        assert self.total is not None, "rows are decided after a map was added"
        rows = until - self.first
        conclusion = self.conclude(self.total[:, :, :rows])
        self.first, self.total = until, self.total[:, :, rows:].clone()
        return conclusion


class MapList:
    """Maps as they came, for the rows from ``first`` on; when decided, they are added strip by strip, in that order."""

    def __init__(self, conclude: Conclude):
        self.conclude = conclude
        self.first = 0
        self.maps: list[ScoreMap] = []

    def add(self, score_map: ScoreMap) -> None:
        """Add a map whose rows are all still undecided."""
        top = score_map.span[0]
        assert top >= self.first, f"rows from {top} on, but those above {self.first} are decided"
        self.maps.append(score_map)

    def decide(self, until: int) -> Tensor:
        """Return the conclusion for the rows above ``until``, and drop them."""
        conclusions = []
        for top, bottom in strips(self.maps[0], self.first, until):
            touching = [score_map for score_map in self.maps if score_map.span[0] < bottom and score_map.span[1] > top]
            total = touching[0].strip(top, bottom)
            for score_map in touching[1:]:
                total.add_(score_map.strip(top, bottom))
            conclusions.append(self.conclude(total))
        self.first = until
        self.maps = [score_map for score_map in self.maps if score_map.span[1] > until]
        return torch.cat(conclusions, dim=-2)


def strips(score_map: ScoreMap, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the strips (top, bottom) that hold rows first..last-1 of a map's image.

    Strip edges are fixed, so all ways of adding up do the same arithmetic.
    """
    height = grain(score_map.device)[0]
    for top in range(first // height * height, last, height):
        yield top, min(top + height, score_map.size[0])


def classify(values: Tensor) -> ClassIds:
    """Return the class ids (B,H,W) uint8 with the highest values (B,C,H,W), logits or sums of score maps."""
    if torch.compiler.is_exporting():  # strips would be of the size at hand
        return ClassIds(values.max(dim=1).indices.to(torch.uint8))
    ids = torch.empty(values.shape[0], *values.shape[2:], dtype=torch.uint8, device=values.device)
    height = grain(values.device)[0]
    for part, strip in zip(ids.split(height, dim=1), values.split(height, dim=2), strict=True):
        part.copy_(strip.max(dim=1).indices)  # a third of argmax's time on a CPU
    return ClassIds(ids)


def log_probabilities(probabilities: Tensor) -> Tensor:
    """Return the logarithms of probabilities, finite where one is 0 in float32."""
    return probabilities.clamp(min=1e-30).log()
