"""Score maps: a network's scores at its own stride, brought onto the image, added up and decided strip by strip.

From a network's last layer on, all that is done to its scores is linear: upsampling, resizing, mirroring, blending. So
none of it is done at full size. A map keeps the scores as they are, with the placements that bring its rows and its
columns onto the image, and a strip of the image's scores is two products of matrices.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from segdla.inference.placement import Mirror, Placement, Resize, Window, band


def grain(device: torch.device) -> tuple[int, int]:
    """Rows in a strip and columns in a block: few, for the caches of a CPU; many, to keep an accelerator busy."""
    return (32, 128) if device.type == "cpu" else (256, 512)


@dataclass(frozen=True)
class ScoreMap:
    """Scores at a network's stride, and how they lie on an image.

    ``values`` (B,C,h,w) are a tensor, or another map, whose probabilities they are; ``size`` is the image's.
    """

    values: "Tensor | ScoreMap"
    size: tuple[int, int]
    rows: tuple[Placement, ...] = ()
    columns: tuple[Placement, ...] = ()

    def placed(self, rows: Placement, columns: Placement, size: tuple[int, int]) -> "ScoreMap":
        return replace(self, size=size, rows=(*self.rows, rows), columns=(*self.columns, columns))

    def resized(self, size: tuple[int, int]) -> "ScoreMap":
        if self.size == size:
            return self
        return self.placed(Resize(self.size[0], size[0]), Resize(self.size[1], size[1]), size)

    def mirrored(self) -> "ScoreMap":
        return replace(self, columns=(*self.columns, Mirror(self.size[1])))

    @property
    def span(self) -> tuple[int, int]:
        """The image's first row that the map may touch, and the one after the last."""
        outermost = self.rows[-1] if self.rows else None
        return (outermost.start, outermost.stop) if isinstance(outermost, Window) else (0, self.size[0])

    @property
    def fills_its_width(self) -> bool:
        """Whether the image's columns are all of the map's, so that mirroring the one is mirroring the other."""
        if isinstance(self.values, ScoreMap):
            return False
        width = self.values.shape[-1]
        for placement in self.columns:
            if not isinstance(placement, Resize) or placement.inner != width:
                return False
            width = placement.outer
        return width == self.size[1]

    def strip(self, top: int, bottom: int) -> Tensor:
        """The scores (B,C,bottom-top,W) of some rows of the image."""
        device, block = self.device, grain(self.device)[1]
        first, last, down = band(self.rows, top, bottom, device)
        if isinstance(self.values, ScoreMap):
            values = self.values.strip(first, last).softmax(dim=1)
        else:
            values = self.values[..., first:last, :]
        batch, classes, height, width = values.shape
        values = values.reshape(-1, width)  # (BCh,w)
        across = values.new_empty(len(values), self.size[1])  # (BCh,W)
        for left in range(0, self.size[1], block):
            right = min(left + block, self.size[1])
            begin, end, weights = band(self.columns, left, right, device)
            if device.type == "mps":  # which before macOS 15 writes no part of a tensor as mm's out
                across[:, left:right] = values[:, begin:end] @ weights.T
            else:
                torch.mm(values[:, begin:end], weights.T, out=across[:, left:right])
        across = across.view(batch * classes, height, -1)
        return torch.bmm(down.expand(batch * classes, -1, -1), across).view(batch, classes, bottom - top, -1)

    @property
    def device(self) -> torch.device:
        return self.values.device


class Summed:
    """The sum of maps at full size, in place, for the rows from ``first`` on. One strip is alive beside it.

    ``conclude`` makes of sums (B,C,h,W) what is wanted of these rows: their class ids, or probabilities.
    """

    def __init__(self, conclude: Callable[[Tensor], Tensor]):
        self.conclude = conclude
        self.first = 0
        self.total: Tensor | None = None

    def add(self, scores: ScoreMap) -> None:
        cells = list(strips(scores, *scores.span))
        for top, bottom in cells:
            assert top >= self.first, f"rows from {top} on, but those above {self.first} are decided"
            strip = scores.strip(top, bottom)
            if self.total is None:
                self.total = strip.new_zeros(*strip.shape[:2], 0, strip.shape[3])
            missing = cells[-1][1] - self.first - self.total.shape[2]
            if missing > 0:
                self.total = F.pad(self.total, (0, 0, 0, missing))
            self.total[:, :, top - self.first : bottom - self.first].add_(strip)

    def decide(self, until: int) -> Tensor:
        """What is concluded of the rows down to ``until``, which are done with."""
        rows = until - self.first
        concluded = self.conclude(self.total[:, :, :rows])
        self.first, self.total = until, self.total[:, :, rows:].clone()
        return concluded


class Kept:
    """Maps as they came, for the rows from ``first`` on; added up strip by strip, in the same order, when decided."""

    def __init__(self, conclude: Callable[[Tensor], Tensor]):
        self.conclude = conclude
        self.first = 0
        self.maps: list[ScoreMap] = []

    def add(self, scores: ScoreMap) -> None:
        assert scores.span[0] >= self.first, f"rows from {scores.span[0]} on, but those above {self.first} are decided"
        self.maps.append(scores)

    def decide(self, until: int) -> Tensor:
        """What is concluded of the rows down to ``until``, which are done with."""
        concluded = []
        for top, bottom in strips(self.maps[0], self.first, until):
            touching = [scores for scores in self.maps if scores.span[0] < bottom and scores.span[1] > top]
            total = touching[0].strip(top, bottom)
            for scores in touching[1:]:
                total.add_(scores.strip(top, bottom))
            concluded.append(self.conclude(total))
        self.first = until
        self.maps = [scores for scores in self.maps if scores.span[1] > until]
        return torch.cat(concluded, dim=-2)


def strips(scores: ScoreMap, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The strips (top, bottom) that hold rows first..last-1 of a map's image.

    They are the same whatever is asked for, so that all ways of adding up do the same arithmetic.
    """
    height = grain(scores.device)[0]
    for top in range(first // height * height, last, height):
        yield top, min(top + height, scores.size[0])


def classify(scores: Tensor) -> Tensor:
    """Scores (B,C,H,W) to class ids (B,H,W) uint8."""
    ids = torch.empty(scores.shape[0], *scores.shape[2:], dtype=torch.uint8, device=scores.device)
    height = grain(scores.device)[0]
    for part, strip in zip(ids.split(height, dim=1), scores.split(height, dim=2), strict=True):
        part.copy_(strip.max(dim=1).indices)  # a third of argmax's time on a CPU
    return ids
