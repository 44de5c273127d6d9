import numpy as np
import pytest
import torch

from segdla.errors import UserError
from segdla.export.formats import open_file
from segdla.export.verify import pictures

onnx = pytest.importorskip("onnx", reason='pip install "segdla[onnx]"')
onnxruntime = pytest.importorskip("onnxruntime", reason='pip install "segdla[onnx]"')


def test_another_program_gets_class_ids_of_bytes(network, files):
    image = pictures(((45, 70),))[0]
    (ids,) = onnxruntime.InferenceSession(files["onnx"]).run(["prediction"], {"images": image.numpy()})
    with torch.inference_mode():
        expected = network(image).argmax(1)
    assert ids.dtype == np.uint8
    assert np.array_equal(ids, expected)


def test_int8_computes_the_same_bits_with_saturating_sums_and_without(int8):
    """On a processor without VNNI the option forbids them; on others there are none."""
    plain, exact = onnxruntime.SessionOptions(), onnxruntime.SessionOptions()
    exact.add_session_config_entry("session.x64quantprecision", "1")
    sessions = [
        onnxruntime.InferenceSession(int8["onnx"], options, ["CPUExecutionProvider"]) for options in (plain, exact)
    ]
    for image in pictures():
        one, other = (session.run(["logits"], {"images": image.numpy()})[0] for session in sessions)
        assert np.array_equal(one, other)


def test_int8_weights_fit_in_7_bits_and_activations_use_8(int8):
    graph = onnx.load(int8["onnx"]).graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    dequantized = {node.output[0]: node.input for node in graph.node if node.op_type == "DequantizeLinear"}
    assert len(convolutions) == 6
    for node in convolutions:
        weights = tensors[dequantized[node.input[1]][0]]
        largest = np.abs(weights.reshape(len(weights), -1).astype(int)).max(1)
        assert weights.dtype == np.int8 and (largest <= 64).all() and (largest >= 63).all()
        # Two products of an activation and a weight, added, fit in 16 bits.
        assert 2 * 255 * int(largest.max()) < 2**15
        assert tensors[dequantized[node.input[0]][2]].dtype == np.uint8


def test_another_programs_model_is_refused(tmp_path):
    info = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "foreign", info[:1], info[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(UserError, match=r"was not written by segdla; export a run or checkpoint \(segdla export RUN\)"):
        open_file(tmp_path / "foreign.onnx", torch.device("cpu"))
