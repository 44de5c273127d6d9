"""Networks of other nodes, in every format."""

import numpy as np
import pytest
import torch
from torch import nn

from segdla.errors import UserError
from segdla.export import onnx_file, torch_file
from segdla.export.formats import FORMATS, open_file, write_file
from segdla.export.verify import differences, pictures
from segdla.inference.head import Overlapping, Sigmoid
from segdla.models.dlaseg import DLASeg, at_image_size
from segdla.models.ida import DLAUp
from segdla.models.nodes import AttentionNode, DeformableNode

CPU = torch.device("cpu")


class TwoLevels(nn.Module):
    """A backbone of two convolutions."""

    channels, strides = (4, 4), (2, 4)

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        first = self.first(x).relu()
        return [first, self.second(first).relu()]


def network(node):
    torch.manual_seed(0)
    decoder = DLAUp(TwoLevels.channels, TwoLevels.strides, node=node)
    return DLASeg(TwoLevels(), decoder, 3, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).eval()


class Both(nn.Module):
    """Attention and, with offsets other than 0, a deformable convolution, so that one export tries both."""

    def __init__(self, channels):
        super().__init__()
        self.attention, self.deformable = AttentionNode(channels), DeformableNode(channels)

    def forward(self, x, y):
        return self.deformable(self.attention(x, y), y)


@pytest.mark.parametrize(("kind", "node"), [("onnx", Both), ("torch", Both), ("openvino", AttentionNode)])
def test_a_file_computes_what_the_network_does(kind, node, card, tmp_path, monkeypatch):
    for package in () if kind == "torch" else ("onnxscript", "onnxruntime", kind):
        pytest.importorskip(package, reason='exporting takes extras: pip install "segdla[onnx,openvino]"')
    written = network(node)
    for name, parameter in written.named_parameters():
        if ".offsets.weight" in name:
            nn.init.normal_(parameter, std=0.2)
    path = tmp_path / f"network{FORMATS[kind].SUFFIX}"
    write_file(written, card, path, kind)
    imported = []
    monkeypatch.setattr(torch_file, "require_deformable", lambda: imported.append(True))
    for difference in differences(written, open_file(path, CPU), pictures(((20, 31), (64, 48)))):
        assert difference.is_small, difference
    assert len(imported) == (kind == "torch")  # a process that only opens files has not imported torchvision


def test_openvino_names_what_it_lacks(card, tmp_path, monkeypatch):
    for package in ("onnx", "openvino"):
        pytest.importorskip(package, reason='exporting takes extras: pip install "segdla[onnx,openvino]"')
    import onnx

    def write_deformable(program, card, path, calibration):
        shapes = {"x": (1, 1, 4, 4), "offset": (1, 2, 4, 4), "y": (1, 1, 4, 4)}
        x, offset, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in shapes.items())
        weight = onnx.numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w")
        node = onnx.helper.make_node("DeformConv", ["x", "w", "offset"], ["y"])
        graph = onnx.helper.make_graph([node], "g", [x, offset], [y], [weight])
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)]), path)

    monkeypatch.setattr(onnx_file, "write", write_deformable)
    with pytest.raises(UserError, match=r"^OpenVINO has no DeformConv\S* from ONNX; choose --format onnx or torch$"):
        FORMATS["openvino"].write(None, "{}", tmp_path / "network.xml", None)


@pytest.mark.parametrize("num_logits", [1, 3], ids=["an object", "classes that overlap"])
def test_head_sigmoid_decides_in_the_file_by_its_thresholds(num_logits, card, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason='exporting takes the extra: pip install "segdla[onnx]"')
    torch.manual_seed(0)
    decoder = DLAUp(TwoLevels.channels, TwoLevels.strides)
    network = DLASeg(TwoLevels(), decoder, num_logits, (0.5,) * 3, (0.25,) * 3).eval()
    (image,) = pictures([(20, 31)])
    with torch.no_grad():
        probabilities = at_image_size(network.logits(image), network.output_stride, (20, 31)).sigmoid()
    thresholds = probabilities.flatten(2).median(2).values[0].tolist()
    head = Sigmoid(*thresholds) if num_logits == 1 else Overlapping(tuple(thresholds))
    path = tmp_path / "a.onnx"
    write_file(network, card, path, "onnx", head=head)
    (values,) = onnxruntime.InferenceSession(path).run(["prediction"], {"images": image.numpy()})
    assert values.dtype == np.uint8
    for bit, threshold in enumerate(thresholds):
        clear = (probabilities[:, bit] - threshold).abs() > 1e-5
        there = torch.from_numpy(values >> bit & 1)
        assert 0.3 < there.float().mean() < 0.7
        assert torch.equal(there[clear], (probabilities[:, bit] > threshold).to(torch.uint8)[clear])
