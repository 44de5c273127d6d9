"""The network as one graph for images of any size, from which every format is made."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from segdla.checkpoints.checkpoint import Card
from segdla.errors import UserError
from segdla.inference.head import SOFTMAX, Head
from segdla.models.dlaseg import DLASeg

OUTPUTS = ("logits", "prediction")


class Exported(NamedTuple):
    """An exported network: a function from images (B,3,H,W) uint8 to logits (B,C,h,w) at a stride, and its card.

    ``device`` is where it computes: the one asked for, or the CPU if its runtime knows no other. ``arithmetic`` is that
    of the processor on which an int8 file was scored. ``size`` is the largest (height, width) that a file for one size
    takes; None if it takes any.
    """

    logits_of: Callable[[Tensor], Tensor]
    stride: int
    precision: str
    card: Card
    device: torch.device
    arithmetic: str = ""
    size: tuple[int, int] | None = None


class Graph(nn.Module):
    """Images (B,3,H,W) uint8 to logits (B,N,h,w) and class ids (B,H,W) uint8, as ``head`` decides.

    ``size`` is the (height, width) of all images, if the file is for one size.
    """

    def __init__(self, network: DLASeg, head: Head = SOFTMAX, size: tuple[int, int] | None = None):
        super().__init__()
        self.size = size
        self.head = head
        self.network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # as files keep tensors
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network.logits(images)
        padded = [side * self.network.output_stride for side in logits.shape[-2:]]
        maps = F.interpolate(logits, size=padded, mode="bilinear", align_corners=False)
        height, width = images.shape[-2:]
        if self.size is not None:
            return logits, self.head.decide(maps[..., :height, :width])
        ids = self.head.decide(maps)
        # A slice would be a view, whose memory layout the exporter decides by the size; a selection isn't one.
        return logits, ids.index_select(1, torch.arange(height)).index_select(2, torch.arange(width))


@torch.no_grad()
def traced(graph: Graph) -> ExportedProgram:
    """Return the graph for any batch and, unless it is for one size, any height and width.

    It is traced at an odd size, so no multiple is baked in.
    """
    images = torch.zeros(2, 3, *(graph.size or (75, 101)), dtype=torch.uint8)
    free = {0: Dim.AUTO} if graph.size else {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}
    # Else the exporter assumes that no map has a side of 1, as the deepest maps of small images have. torch's config
    # modules get their ``patch`` at run time.
    with torch.fx.experimental._config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        return torch.export.export(graph, (images,), dynamic_shapes={"images": free})


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Raise UserError, with what to install, if an optional package is missing."""
    try:
        yield
    except ImportError as error:
        raise UserError(f'{error.name or error} is not installed; pip install "segdla[{extra}]"') from error
