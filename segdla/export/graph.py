"""The network as one graph for all sizes, which every format is made from."""

import copy
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from segdla.errors import UserError
from segdla.models.segmenter import DLASeg

OUTPUTS = ("logits", "prediction")


class Opened(NamedTuple):
    """An exported network: a function from images (B,3,H,W) uint8 to logits (B,C,h,w) at a stride, and its card.

    ``device`` is where it computes: the one asked for, or the CPU where its runtime knows no other.
    """

    logits: Callable[[Tensor], Tensor]
    stride: int
    precision: str
    card: dict[str, Any]
    device: torch.device


class Graph(nn.Module):
    """Images (B,3,H,W) uint8 to logits (B,C,h,w) and class ids (B,H,W) uint8."""

    def __init__(self, network: DLASeg):
        super().__init__()
        self.network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # as files keep tensors
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network.logits(images)
        padded = [side * self.network.output_stride for side in logits.shape[-2:]]
        scores = F.interpolate(logits, size=padded, mode="bilinear", align_corners=False)
        ids = scores.max(dim=1).indices.to(torch.uint8)
        # A slice would be a view, about whose layout the exporter decides by size; a selection is none.
        height, width = images.shape[-2:]
        return logits, ids.index_select(1, torch.arange(height)).index_select(2, torch.arange(width))


@torch.no_grad()
def sizes_free(graph: Graph) -> ExportedProgram:
    """The graph of any batch, height and width. Of sizes, those that are multiples of nothing bind it the least."""
    images = torch.zeros(2, 3, 75, 101, dtype=torch.uint8)
    # Else the exporter takes it for granted that no map has a side of 1, as the deepest of small images have.
    with torch.fx.experimental._config.patch(backed_size_oblivious=True):
        return torch.export.export(graph, (images,), dynamic_shapes={"images": {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}})


@contextmanager
def needing(extra: str):
    """Raises UserError, with what to install, where an optional package is missing."""
    try:
        yield
    except ImportError as error:
        raise UserError(f'{error.name or error} is not installed; pip install "segdla[{extra}]"') from error
