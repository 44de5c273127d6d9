"""OpenVINO: made from the ONNX model, int8 included; an .xml file with its weights in a .bin file beside it."""

import re
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segdla.errors import UserError
from segdla.export import onnx_file
from segdla.export.graph import Graph, needing

SUFFIX = ".xml"
WRITES: tuple[str, ...] = (SUFFIX, ".bin")
PACKAGES = (*onnx_file.PACKAGES, "openvino")
INT8 = True
ONE_SIZE = False
_CARD = ["segdla", "card"]


def write(graph: Graph, card: str, path: Path, calibration: Iterable[np.ndarray] | None) -> None:
    """Write the network with its card, in int8 if there is calibration.

    Raises UserError if packages are missing, or OpenVINO lacks an operator of the network.
    """
    with needing("openvino"):
        import openvino
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        onnx_file.write(graph, card, source, calibration)
        model = _converted(openvino, source)
    model.set_rt_info(card, _CARD)
    openvino.save_model(model, path, compress_to_fp16=False)


def _converted(openvino: Any, source: Path) -> Any:
    try:
        return openvino.convert_model(source)
    except openvino.frontend.OpConversionFailure as error:
        lacking = re.search(r"No conversion rule found for operations: (.+)", str(error))
        if lacking is None:
            raise
        raise UserError(f"OpenVINO has no {lacking[1]} from ONNX; choose --format onnx or torch") from error


def read_card(path: Path) -> str:
    """Return the card. Raises UserError if there is none."""
    return _read(path)[2]


def _read(path: Path) -> tuple[Any, Any, str]:
    """Return the runtime, the model, which is not compiled, and the card."""
    with needing("openvino"):
        import openvino

    if not path.with_suffix(".bin").is_file():
        raise UserError(f"{path.with_suffix('.bin')}, which holds its weights, is not beside it; copy both")
    core = openvino.Core()
    model = core.read_model(path)
    if not model.has_rt_info(_CARD):
        raise UserError(f"{path} was not written by segdla; export a run or checkpoint (segdla export RUN)")
    return core, model, model.get_rt_info(_CARD).astype(str)


def read(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], str, torch.device]:
    """Return a function from images to logits, the card, and the CPU, the one device that computes."""
    core, model, card = _read(path)
    for result in model.get_results():
        if "prediction" in result.get_output_tensor(0).names:
            model.remove_result(result)  # our own commands use the logits
    # Its default is bf16 on a CPU that has it.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = core.compile_model(model, "CPU", settings)
    local = threading.local()  # a request computes for one thread at a time

    def logits(images: Tensor) -> Tensor:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        output = local.request.infer({0: images.cpu().numpy()})[0]
        return torch.from_numpy(np.array(output)).to(images.device)  # a copy: the request writes over its output

    return logits, card, torch.device("cpu")
