"""LiteRT (TensorFlow Lite): made by litert-torch for images of one size, computed by ai-edge-litert.

The file takes bytes ``(1, height, width, 3)`` and gives logits ``(1, h, w, classes)`` and the prediction ``(1, height,
width)``. The card is in a zip archive at its end, as TensorFlow Lite keeps the labels of a model. ai-edge-quantizer,
which litert-torch brings along, puts convolutions into int8 on request.
"""

import io
import os
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segdla.export.graph import Graph, needing
from segdla.models.dlaseg import padded_to
from segdla.models.fold import folded
from segdla.models.upsample_phases import with_phases

SUFFIX = ".tflite"
WRITES: tuple[str, ...] = (SUFFIX,)
PACKAGES: tuple[str, ...] = ("litert_torch", "ai_edge_litert", "ai_edge_quantizer")
INT8 = True
ONE_SIZE = True
_CARD = "card.json"
_IN_INT8 = ("CONV_2D", "ADD", "MAX_POOL_2D", "CONCATENATION", "RESHAPE")
"""Operators in int8: convolutions and what lies between them, but not the learned upsampling (DEPTHWISE_CONV_2D)."""


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
    """Write the network with its card, for images of ``graph.size``, in int8 if there is calibration.

    Raises UserError if packages are missing.
    """
    assert graph.size is not None, "a LiteRT file is for one size"
    os.environ.setdefault("LITERT_TORCH_SHOW_PROGRESS", "n")
    with needing("litert"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jax and torchao, which it imports, warn about each other
        import litert_torch

        with _constants_kept():
            images = torch.zeros(1, *graph.size, 3, dtype=torch.uint8)
            model = litert_torch.convert(_ChannelsLast(graph).eval(), (images,))
        model.export(str(path))
        if calibration is not None:
            _quantize(path, [_fitted(image, graph.size) for image in calibration])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_CARD, card)


def _quantize(path: Path, images: list[np.ndarray]) -> None:
    """Put ``_IN_INT8`` of a file into int8: weights scaled by channel, activations by their range on images."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.quantizer import Quantizer

    ((signature, names),) = Interpreter(str(path)).get_signature_list().items()
    quantizer = Quantizer(str(path))
    for name in _IN_INT8:
        operator = qtyping.TFLOperationName(name)
        quantizer.add_static_config(".*", operator, activation_num_bits=8, weight_num_bits=8)
    samples = [{names["inputs"][0]: image} for image in images]
    with redirect_stderr(io.StringIO()):  # its bars
        ranges = quantizer.calibrate({signature: samples}, num_threads=torch.get_num_threads())
        result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    path.write_bytes(bytes(result.quantized_model))


def _fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the middle of an image (H,W,3), of ``size``, padded if the image is smaller: (1,height,width,3)."""
    top, left = (max(0, (side - length) // 2) for side, length in zip(image.shape, size, strict=False))
    middle = torch.from_numpy(image[top : top + size[0], left : left + size[1]])
    return padded_to(middle.permute(2, 0, 1)[None], size).permute(0, 2, 3, 1).contiguous().numpy()


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


def read_card(path: Path) -> str:
    """Return the card."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(_CARD).decode()


def read(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], str, torch.device]:
    """Return a function from images to logits, the card, and the CPU, the one device that computes."""
    with needing("litert"):
        from ai_edge_litert.interpreter import Interpreter

    card = read_card(path)
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
