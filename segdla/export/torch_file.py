"""torch.export: a file for other PyTorch programs."""

import io
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export.passes import move_to_device_pass

from segdla.errors import UserError
from segdla.export.graph import Graph, traced
from segdla.models.nodes import require_deformable

SUFFIX = ".pt2"
WRITES: tuple[str, ...] = (SUFFIX,)
PACKAGES: tuple[str, ...] = ()
INT8 = False
ONE_SIZE = False
_CARD = "segdla.json"


def write(graph: Graph, card: str, path: Path, calibration: Iterable[np.ndarray] | None) -> None:
    """Write the network with its card; this format has no int8."""
    torch.export.save(traced(graph), path, extra_files={_CARD: card})


def read_card(path: Path) -> str:
    """Return the card. Raises UserError if there is none."""
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.endswith(f"/extra/{_CARD}")), None)
        if name is None:
            raise UserError(f"{path} was not written by segdla; export a run or checkpoint (segdla export RUN)")
        return archive.read(name).decode()


def read(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], str, torch.device]:
    """Return a function from images to logits, the card, and the device. Raises UserError if the file holds code."""
    refuse_code(path)
    if _has_deformable(path):
        require_deformable()
    card = read_card(path)
    program = torch.export.load(path)
    if device.type != "cpu":
        program = move_to_device_pass(program, device)
    # Guards may be of memory layouts alone, as ConvNeXt's on the batch; that the file computes the same was checked as
    # it was exported, at several sizes.
    module = program.module(check_guards=False)

    def logits(images: Tensor) -> Tensor:
        return module(images)[0]

    return logits, card, device


def refuse_code(path: Path) -> None:
    """Raise UserError if the file holds pickled objects other than tensors: torch.export.load would run their code.

    It is still a program, whose symbolic sizes are expressions to evaluate: load files of people you trust.
    """
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith(".json") and _asks_for_pickle(json.loads(content)):
                raise UserError(f"{path} holds pickled objects, which can run code; export the network again")
            if name.endswith(".pt"):
                try:
                    torch.load(io.BytesIO(content), weights_only=True)
                except Exception as error:
                    raise UserError(f"{path} holds more than tensors ({name}), which can run code") from error


def _has_deformable(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(b"torchvision.deform_conv2d" in archive.read(n) for n in archive.namelist() if n.endswith(".json"))


def _asks_for_pickle(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value.get("use_pickle")) or any(map(_asks_for_pickle, value.values()))
    return isinstance(value, list) and any(map(_asks_for_pickle, value))
