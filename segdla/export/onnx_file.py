"""ONNX: written by PyTorch's exporter, run by ONNX Runtime, its convolutions in int8 on request."""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from segdla.errors import UserError
from segdla.export.graph import OUTPUTS, needing

SUFFIX = ".onnx"
WRITES = (SUFFIX,)
INT8 = True
_CARD = "segdla"
_CUDA = "CUDAExecutionProvider"


def write(program: ExportedProgram, card: str, path: Path, calibration: Iterable[np.ndarray] | None) -> None:
    with needing("onnx"):
        import onnx

        axes = {"images": {0: "batch", 2: "height", 3: "width"}}
        model = torch.onnx.export(
            program, (), dynamo=True, input_names=["images"], output_names=OUTPUTS, dynamic_shapes=axes, verbose=False
        ).model_proto
        if calibration is not None:
            model = quantized(model, calibration)
    onnx.helper.set_model_props(model, {_CARD: card})
    onnx.save(model, path)


def quantized(model, calibration: Iterable[np.ndarray]):
    """The model with its convolutions in int8: weights by channel, activations by what they are on the images."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self):
            self.images = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.images, None)
            return None if image is None else {"images": np.ascontiguousarray(image.transpose(2, 0, 1)[None])}

    with tempfile.TemporaryDirectory() as folder:
        plain, fused, small = (Path(folder) / f"{name}.onnx" for name in ("plain", "fused", "int8"))
        onnx.save(model, plain)
        quant_pre_process(plain, fused, skip_symbolic_shape=True)
        quantize_static(
            fused,
            small,
            Images(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(small)


def read(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], str, torch.device]:
    with needing("onnx"):
        import onnxruntime

    providers: list = ["CPUExecutionProvider"]
    if device.type == "cuda" and _CUDA in onnxruntime.get_available_providers():
        # Unasked, it computes on the first device, and float32 in tf32.
        providers.insert(0, (_CUDA, {"device_id": device.index or 0, "use_tf32": 0}))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers)
    card = session.get_modelmeta().custom_metadata_map.get(_CARD)
    if card is None:
        raise UserError(f"{path} was not written by tools/export.py; export a run or checkpoint with it")
    only_what_is_asked = onnxruntime.RunOptions()
    only_what_is_asked.only_execute_path_to_fetches = True

    def logits(images: Tensor) -> Tensor:
        fetched = session.run(["logits"], {"images": images.cpu().numpy()}, only_what_is_asked)
        return torch.from_numpy(fetched[0]).to(images.device)

    return logits, card, device if session.get_providers()[0] == _CUDA else torch.device("cpu")
