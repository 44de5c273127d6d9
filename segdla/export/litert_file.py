"""LiteRT (TensorFlow Lite): made by litert-torch for images of one size, computed by ai-edge-litert.

The file takes bytes ``(1, height, width, 3)`` and gives logits ``(1, h, w, classes)`` and the prediction ``(1, height,
width)``. The card is in a zip archive at its end, as TensorFlow Lite keeps the labels of a model.
"""

import os
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segdla.export.graph import Graph, needing
from segdla.models.fold import folded
from segdla.models.upsample_phases import with_phases

SUFFIX = ".tflite"
WRITES: tuple[str, ...] = (SUFFIX,)
PACKAGES: tuple[str, ...] = ("litert_torch", "ai_edge_litert")
INT8 = False
ONE_SIZE = True
_CARD = "card.json"


class _ChannelsLast(nn.Module):
    """Images (B,H,W,3) uint8 to logits (B,h,w,N) and class ids (B,H,W) uint8."""

    def __init__(self, graph: Graph):
        super().__init__()
        self.whole = graph  # torch.fx has a ``graph`` of its own
        # It has no transposed convolution with groups; litert-torch would make one for each channel.
        graph.network = with_phases(folded(graph.network))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits, ids = self.whole(images.float().permute(0, 3, 1, 2))  # its bytes can't be padded
        return logits.permute(0, 2, 3, 1), ids


def write(graph: Graph, card: str, path: Path, calibration: Iterable[np.ndarray] | None) -> None:
    """Write the network with its card, for images of ``graph.size``. Raises UserError if packages are missing."""
    assert graph.size is not None, "a LiteRT file is for one size"
    os.environ.setdefault("LITERT_TORCH_SHOW_PROGRESS", "n")
    with needing("litert"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jax and torchao, which it imports, warn about each other
        import litert_torch

        with _constants_kept():
            images = torch.zeros(1, *graph.size, 3, dtype=torch.uint8)
            model = litert_torch.convert(_ChannelsLast(graph).eval(), (images,))
        model.export(str(path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_CARD, card)


@contextmanager
def _constants_kept() -> Iterator[None]:
    """Keep the constants that litert-torch makes alive until it is done.

    litert-torch 0.10 knows a constant by its address, and frees copies that it makes: the next one at the same address
    is then taken for the first. Without this, layers of a DLA-46-C have the weights of others, and wrong logits.
    """
    from litert_torch.backend import inline_consts

    fingerprint: Any = getattr(inline_consts, "_ConstantFingerprint", None)
    if fingerprint is None:  # another version; a file that computes something else is not kept
        yield
        return
    kept: list[Tensor] = []
    original = fingerprint.from_tensor

    def keeping(tensor: Tensor) -> Any:
        kept.append(tensor)
        return original(tensor)

    fingerprint.from_tensor = keeping
    try:
        yield
    finally:
        fingerprint.from_tensor = original


def read(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], str, torch.device]:
    """Return a function from images to logits, the card, and the CPU, the one device that computes."""
    with needing("litert"):
        from ai_edge_litert.interpreter import Interpreter

    with zipfile.ZipFile(path) as archive:
        card = archive.read(_CARD).decode()
    content, threads = path.read_bytes(), torch.get_num_threads()
    local = threading.local()  # an interpreter computes for one thread at a time

    def interpreter() -> tuple[Any, int, int]:
        if not hasattr(local, "ready"):
            runtime = Interpreter(model_content=content, num_threads=threads)
            runtime.allocate_tensors()
            (images,) = runtime.get_input_details()
            logits = next(output for output in runtime.get_output_details() if output["dtype"] == np.float32)
            local.ready = runtime, images["index"], logits["index"]
        return local.ready

    def one(image: np.ndarray) -> Tensor:
        runtime, images, logits = interpreter()
        runtime.set_tensor(images, image[None])
        runtime.invoke()
        return torch.from_numpy(runtime.get_tensor(logits)[0])  # a copy, (h,w,N)

    def logits_of(images: Tensor) -> Tensor:
        batch = images.cpu().permute(0, 2, 3, 1).contiguous().numpy()
        return torch.stack([one(image) for image in batch]).permute(0, 3, 1, 2).contiguous().to(images.device)

    interpreter()  # a file that is cut short fails here
    return logits_of, card, torch.device("cpu")
