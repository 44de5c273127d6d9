"""The formats by name: write a network in one, and open a file of one."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from segdla.checkpoints.checkpoint import Card
from segdla.errors import UserError
from segdla.export import litert_file, ncnn_file, onnx_file, openvino_file, torch_file
from segdla.export.graph import Exported, Graph
from segdla.inference.head import SOFTMAX, Head
from segdla.models.dlaseg import DLASeg, padded_to


class ExportFormat(Protocol):
    """The interface of a format module; to add a format, write its module and add its line to ``FORMATS``."""

    SUFFIX: str
    WRITES: tuple[str, ...]  # the suffixes of all its files
    PACKAGES: tuple[str, ...]  # the packages that it needs beyond segdla's
    INT8: bool  # whether it has convolutions in 8 bits
    ONE_SIZE: bool  # whether a file is for images of one size

    def write(self, graph: Graph, card: str, path: Path, calibration: Iterable[np.ndarray] | None, /) -> None:
        """Write a network with its card, in int8 if there is calibration. Raises UserError if packages are missing."""

    def read_card(self, path: Path, /) -> str:
        """Return the card, without readying the network. May raise anything."""

    def read(self, path: Path, device: torch.device, /) -> tuple[Callable[[Tensor], Tensor], str, torch.device]:
        """Return a function from images to logits, the card, and the device that computes. May raise anything."""


FORMATS: dict[str, ExportFormat] = {
    "onnx": onnx_file,
    "openvino": openvino_file,
    "torch": torch_file,
    "ncnn": ncnn_file,
    "litert": litert_file,
}


def is_exported(path: Path) -> bool:
    """Return whether a file is an exported network, by its suffix."""
    return any(path.suffix == module.SUFFIX for module in FORMATS.values())


def write_file(
    network: DLASeg,
    card: Card,
    path: Path,
    kind: str,
    calibration: Iterable[np.ndarray] | None = None,
    arithmetic: str = "",
    head: Head = SOFTMAX,
    size: tuple[int, int] | None = None,
) -> None:
    """Write a network, on the CPU, in one of ``FORMATS``; its convolutions are in int8 if there is ``calibration``.

    ``calibration`` are RGB images (H,W,3) uint8 like those that the network will see. ``arithmetic`` is that of
    ``int8_arithmetic``, if the file is scored before it is kept. ``head`` decides on class ids in the file. ``size`` is
    the (height, width) of images, for a format whose files are for one size.

    Raises UserError if the format's packages are missing.
    """
    assert calibration is None or FORMATS[kind].INT8, f"no int8 in {kind}"
    values = json.loads(card.to_json())
    values |= {"stride": network.output_stride, "precision": "fp32" if calibration is None else "int8"}
    if arithmetic:
        values["arithmetic"] = arithmetic
    if size is not None:
        values["size"] = size
    FORMATS[kind].write(Graph(network, head, size), json.dumps(values), path, calibration)


def open_file(path: Path, device: torch.device) -> Exported:
    """Open an exported file on a device, or on the CPU if its runtime can't use that device.

    Raises UserError if segdla has not exported it.
    """
    with _answering(path):
        logits_of, text, computes_on = _format_of(path).read(path, device)
        values = json.loads(text)
        card, arithmetic, stride = Card.from_json(text), values.get("arithmetic", ""), values["stride"]
        size = tuple(values["size"]) if "size" in values else None
        if size is not None:
            logits_of = _padding(logits_of, size)
        return Exported(logits_of, stride, values["precision"], card, computes_on, arithmetic, size)


def read_card_of(path: Path) -> Card:
    """Return the card of an exported file, which is quick. Raises UserError if segdla has not exported it."""
    with _answering(path):
        return Card.from_json(_format_of(path).read_card(path))


def _format_of(path: Path) -> ExportFormat:
    return next(module for module in FORMATS.values() if path.suffix == module.SUFFIX)


@contextmanager
def _answering(path: Path) -> Iterator[None]:
    """Turn a runtime's errors into a UserError."""
    try:
        yield
    except (ImportError, UserError):
        raise
    except Exception as error:  # each runtime has errors of its own for a file that is cut short or foreign
        words = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is not a file that segdla exported ({words}); export the network again") from error


def _padding(logits_of: Callable[[Tensor], Tensor], size: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """Pad images of up to ``size`` to it."""

    def logits(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        assert height <= size[0] and width <= size[1], f"an image of {height}x{width} for a file of {size}"
        return logits_of(padded_to(images, size))

    return logits
