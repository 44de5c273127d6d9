import numpy as np
import torch

from segdla.export.formats import open_file
from segdla.export.verify import differences, pictures

CPU = torch.device("cpu")


def test_a_file_computes_what_the_network_does_at_its_size(network, files):
    exported = open_file(files["litert"], CPU)
    for difference in differences(network, exported, pictures((exported.size, exported.size))):
        assert difference.logits < 1e-4 * difference.largest, difference
        assert difference.differing <= 2, difference  # ties


def test_another_program_gets_class_ids_of_bytes(network, files):
    path = files["litert"]
    from ai_edge_litert.interpreter import Interpreter

    image = pictures(((40, 56),))[0]
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image.permute(0, 2, 3, 1).numpy())
    interpreter.invoke()
    ids = next(output for output in interpreter.get_output_details() if output["dtype"] == np.uint8)
    with torch.inference_mode():
        expected = network(image).argmax(1)
    assert np.mean(interpreter.get_tensor(ids["index"]) != expected.numpy()) < 1e-3


def test_int8_is_for_convolutions_but_not_for_learned_upsampling(network, int8):
    path = int8["litert"]
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # which leaves the operators as they are in the file
    interpreter = Interpreter(str(path), experimental_op_resolver_type=plain)
    dtypes = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    weights = {"CONV_2D": set(), "DEPTHWISE_CONV_2D": set()}
    for operator in interpreter._get_ops_details():
        if operator["op_name"] in weights:
            weights[operator["op_name"]].add(dtypes[operator["inputs"][1]])
    assert weights == {"CONV_2D": {np.int8}, "DEPTHWISE_CONV_2D": {np.float32}}
    exported = open_file(path, CPU)
    assert exported.precision == "int8"
    for difference in differences(network, exported, pictures((exported.size, exported.size))):
        assert 0 < difference.differing < 0.05 * difference.pixels, difference
