"""torch.export: for other PyTorch programs."""

import io
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from segdla.errors import UserError

SUFFIX = ".pt2"
WRITES = (SUFFIX,)
INT8 = False
_CARD = "segdla.json"


def write(program: ExportedProgram, card: str, path: Path, calibration: Iterable[np.ndarray] | None) -> None:
    torch.export.save(program, path, extra_files={_CARD: card})


def read(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], str, torch.device]:
    refuse_code(path)
    files = {_CARD: ""}
    program = torch.export.load(path, extra_files=files)
    if not files[_CARD]:
        raise UserError(f"{path} was not written by tools/export.py; export a run or checkpoint with it")
    if device.type != "cpu":
        program = move_to_device_pass(program, device)
    module = program.module()

    def logits(images: Tensor) -> Tensor:
        return module(images)[0]

    return logits, files[_CARD], device


def refuse_code(path: Path) -> None:
    """Raises UserError where loading the file would unpickle more than tensors: torch.export.load runs such code.

    A program it remains: its symbolic sizes are expressions, which are evaluated. So load those of people you trust.
    """
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith(".json") and _says_pickle(json.loads(content)):
                raise UserError(f"{path} holds pickled objects, which can run code; export the network again")
            if name.endswith(".pt"):
                try:
                    torch.load(io.BytesIO(content), weights_only=True)
                except Exception as error:
                    raise UserError(f"{path} holds more than tensors ({name}), which can run code") from error


def _says_pickle(told: Any) -> bool:
    if isinstance(told, dict):
        return bool(told.get("use_pickle")) or any(map(_says_pickle, told.values()))
    return isinstance(told, list) and any(map(_says_pickle, told))
