"""Networks as files for other runtimes: ONNX, OpenVINO and torch.export; written, checked, and opened again.

A file takes RGB images (B,3,H,W) uint8 of any size; normalising and padding are inside. It gives ``logits`` (B,C,h,w)
float32 at the output stride, of the images padded at the bottom and the right, from which our own tools go on, and
``prediction`` (B,H,W) uint8, the class ids that another program wants. What the checkpoint's card says travels along.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segdla.errors import UserError
from segdla.export import onnx_file, openvino_file, torch_file
from segdla.export.graph import Graph, Opened, sizes_free
from segdla.models.segmenter import DLASeg

FORMATS = {"onnx": onnx_file, "openvino": openvino_file, "torch": torch_file}
SUFFIXES = {module.SUFFIX: module for module in FORMATS.values()}


def export(
    network: DLASeg,
    card: dict[str, Any],
    path: Path,
    kind: str,
    calibration: Iterable[np.ndarray] | None = None,
) -> None:
    """Write a network, on the CPU, in one of ``FORMATS``; with its convolutions in int8 where there are images for it.

    ``calibration`` are RGB images (H,W,3) uint8 like those that the network will see. Raises UserError where the
    format's packages are missing.
    """
    assert calibration is None or FORMATS[kind].INT8, f"no int8 in {kind}"
    told = {**card, "stride": network.output_stride, "precision": "fp32" if calibration is None else "int8"}
    program = sizes_free(Graph(network))
    FORMATS[kind].write(program, json.dumps(told), path, calibration)


def open_exported(path: Path, device: torch.device) -> Opened:
    """An exported file, ready to compute on a device, or near it. Raises UserError where it is not one of ours."""
    module = SUFFIXES[path.suffix]
    try:
        logits, text, computes_on = module.read(path, device)
        card = json.loads(text)
        return Opened(logits, card.pop("stride"), card.pop("precision"), card, computes_on)
    except (ImportError, UserError):
        raise
    except Exception as error:  # each runtime has errors of its own for a file that is cut short or foreign
        words = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is not a file of tools/export.py's ({words}); export the network again") from error
