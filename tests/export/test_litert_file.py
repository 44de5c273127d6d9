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
