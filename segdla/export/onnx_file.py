"""ONNX: written by PyTorch's exporter, computed by ONNX Runtime; convolutions in int8 on request."""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segdla.errors import UserError
from segdla.export.graph import OUTPUTS, Graph, needing, traced

SUFFIX = ".onnx"
WRITES: tuple[str, ...] = (SUFFIX,)
PACKAGES: tuple[str, ...] = ("onnx", "onnxscript", "onnxruntime")
INT8 = True
ONE_SIZE = False
_CARD = "segdla"
_CUDA = "CUDAExecutionProvider"


def write(graph: Graph, card: str, path: Path, calibration: Iterable[np.ndarray] | None) -> None:
    """Write the network with its card, in int8 if there is calibration. Raises UserError if packages are missing."""
    with needing("onnx"):
        import onnx

        axes = {"images": {0: "batch"} if graph.size else {0: "batch", 2: "height", 3: "width"}}
        exported = torch.onnx.export(
            traced(graph),
            (),
            dynamo=True,
            input_names=["images"],
            output_names=OUTPUTS,
            dynamic_shapes=axes,
            verbose=False,
        )
        assert exported is not None, "with dynamo=True the exporter returns a program"
        model = exported.model_proto
        if calibration is not None:
            model = quantized(model, calibration)
    onnx.helper.set_model_props(model, {_CARD: card})
    onnx.save(model, path)


def quantized(model: Any, calibration: Iterable[np.ndarray]) -> Any:
    """Return the model with its convolutions in int8: weights scaled by channel, activations by their range on images.

    Weights take 7 bits of the 8. Processors without VNNI add two products of 8 bits in a saturating 16-bit integer:
    255 * 127 * 2 does not fit in it, 255 * 64 * 2 does. So the sums are exact on processors of both kinds.
    """
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
            reduce_range=True,
        )
        return onnx.load(small)


def read_card(path: Path) -> str:
    """Return the card. Raises UserError if there is none."""
    with needing("onnx"):
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it computes nothing
    return _card_of(path, onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"]))


def _card_of(path: Path, session: Any) -> str:
    card = session.get_modelmeta().custom_metadata_map.get(_CARD)
    if card is None:
        raise UserError(f"{path} was not written by segdla; export a run or checkpoint (segdla export RUN)")
    return str(card)


def read(path: Path, device: torch.device) -> tuple[Callable[[Tensor], Tensor], str, torch.device]:
    """Return a function from images to logits, the card, and the device that computes."""
    with needing("onnx"):
        import onnxruntime

    providers: list = ["CPUExecutionProvider"]
    if device.type == "cuda" and _CUDA in onnxruntime.get_available_providers():
        # Its defaults are the first device, and tf32 for float32.
        providers.insert(0, (_CUDA, {"device_id": device.index or 0, "use_tf32": 0}))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers)
    card = _card_of(path, session)
    options_of_run = onnxruntime.RunOptions()
    options_of_run.only_execute_path_to_fetches = True

    def logits(images: Tensor) -> Tensor:
        fetched = session.run(["logits"], {"images": images.cpu().numpy()}, options_of_run)
        return torch.from_numpy(fetched[0]).to(images.device)

    return logits, card, device if session.get_providers()[0] == _CUDA else torch.device("cpu")
