"""OpenVINO: made from the ONNX model, int8 included; an .xml with its weights in a .bin beside it."""

import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from segdla.errors import UserError
from segdla.export import onnx_file
from segdla.export.graph import needing

SUFFIX = ".xml"
WRITES = (SUFFIX, ".bin")
INT8 = True
_CARD = ["segdla", "card"]


def write(program: ExportedProgram, card: str, path: Path, calibration: Iterable[np.ndarray] | None) -> None:
    with needing("openvino"):
        import openvino
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        onnx_file.write(program, card, source, calibration)
        model = openvino.convert_model(source)
    model.set_rt_info(card, _CARD)
    openvino.save_model(model, path, compress_to_fp16=False)


def read(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], str, torch.device]:
    with needing("openvino"):
        import openvino

    if not path.with_suffix(".bin").is_file():
        raise UserError(f"{path.with_suffix('.bin')}, which holds its weights, is not beside it; copy both")
    core = openvino.Core()
    model = core.read_model(path)
    if not model.has_rt_info(_CARD):
        raise UserError(f"{path} was not written by tools/export.py; export a run or checkpoint with it")
    card = model.get_rt_info(_CARD).astype(str)
    for result in model.get_results():
        if "prediction" in result.get_output_tensor(0).names:
            model.remove_result(result)  # our own tools decide by the logits
    # Unasked, it computes in bf16 where a CPU has it.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = core.compile_model(model, "CPU", settings)
    own = threading.local()  # a request computes for one thread at a time

    def logits(images: Tensor) -> Tensor:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        found = own.request.infer({0: images.cpu().numpy()})[0]
        return torch.from_numpy(np.array(found)).to(images.device)  # the request writes over its own

    return logits, card, torch.device("cpu")
