import copy
import sys

import numpy as np
import pytest
import torch
from tiny_run import assert_same, train_tiny
from torch import nn
from torch.optim.swa_utils import AveragedModel

from segdla.config import Config, ModelConfig, parse
from segdla.errors import UserError
from segdla.models.dla import DLA, BasicBlock
from segdla.models.dlaseg import DLASeg
from segdla.models.fold import folded
from segdla.models.ida import DLAUp
from segdla.models.macs import count_macs
from segdla.models.nodes import (
    NODES,
    AttentionNode,
    AttentionRoot,
    ChannelAttention,
    DeformableConv,
    DeformableNode,
    ResidualNode,
    SumNode,
    SumRoot,
)
from segdla.models.winograd import Winograd, winograd
from segdla.training import log
from segdla.training.from_config import require_possible
from segdla.training.state import Training, moving_average, read_state


def small_dla(node):
    """A network with a level of four blocks, an input of another width joined to each Root, and small maps."""
    backbone = DLA((1, 1, 1, 2, 1, 1), (4, 4, 4, 8, 8, 8), BasicBlock, node=NODES[node].backbone)
    decoder = DLAUp(backbone.channels[2:], backbone.strides[2:], node=NODES[node].decoder)
    return DLASeg(backbone, decoder, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def images(batch=2, height=64, width=96):
    return torch.randint(0, 256, (batch, 3, height, width), generator=torch.Generator().manual_seed(0)).byte()


def unlike_at_the_start(network):
    """Give all that starts as a constant other values, so that it matters."""
    torch.manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    tensor.uniform_(0.5, 1.5)
                for tensor in (module.bias, module.running_mean):
                    tensor.uniform_(-0.5, 0.5)
            elif isinstance(module, DeformableConv):
                module.offsets.weight.normal_(std=0.2)
                module.offsets.bias.uniform_(-1, 1)
    return network.eval()


def test_the_config_names_every_node():
    for field in ("node", "backbone_node"):
        literal, _ = ModelConfig.model_fields[field].annotation.__args__
        assert literal.__args__ == tuple(NODES)


@pytest.mark.parametrize("node", NODES)
def test_a_step_reaches_every_parameter(node):
    torch.manual_seed(0)
    network = small_dla(node)
    loss = nn.functional.cross_entropy(network(images()), torch.randint(0, 3, (2, 64, 96)))
    loss.backward()
    unmoved = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert unmoved == []


@pytest.mark.parametrize("node", NODES)
def test_folded_it_is_the_same_function(node):
    network = unlike_at_the_start(small_dla(node)).double()
    with torch.inference_mode():
        expected = network(images())
        fast = folded(copy.deepcopy(network))
        torch.testing.assert_close(fast(images()), expected, rtol=1e-9, atol=1e-9)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())


class Pair(nn.Module):
    """A backbone of two maps."""

    channels, strides = (4, 4), (2, 4)

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        first = self.first(x).relu()
        return [first, self.second(first).relu()]


def filled(module):
    """Give a module weights that another program can compute too: sines of a running number."""
    number = 0
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                values = 0.5 * torch.sin(0.7 * torch.arange(number, number + tensor.numel(), dtype=torch.float64))
                number += tensor.numel()
                around_one = "var" in name or ("weight" in name and tensor.dim() == 1)
                tensor.copy_((values + 1 if around_one else values).view(tensor.shape))
    return module


def waves():
    steps = torch.arange(2 * 16 * 5 * 6, dtype=torch.float64)
    return torch.sin(steps).view(2, 16, 5, 6), torch.cos(0.3 * steps).view(2, 16, 5, 6)


# What SysCV/dla-afa e863205 computes with these weights: AFAIDAUp of two maps, and final_feature_fusion of three. Its
# running statistics after the step in training are ours, to the bit.
@pytest.mark.parametrize(
    ("training", "values", "total"),
    [
        (False, [0.12808360246, 0.26658386294, -0.20420353780, -0.05016910357], 259.689596922),
        (True, [0.33443647703, 0.03656579461, -0.04037597857, 0.13344935031], 228.245547216),
    ],
)
def test_attention_of_two_maps_is_the_authors(training, values, total):
    node = filled(AttentionNode(16).double()).train(training)
    merged = node(*waves())
    assert merged.flatten()[[0, 77, 500, 959]].tolist() == pytest.approx(values, abs=1e-9)
    assert merged.abs().sum().item() == pytest.approx(total, rel=1e-9)


def test_attention_of_three_maps_is_the_authors():
    x, y = waves()
    merged = filled(AttentionRoot((16, 16, 16), 16).double()).eval()(x * y, y, x)  # the newest first
    values = [0.00018353674, -0.21337652529, -0.08042956439, -0.08814222012]
    assert merged.flatten()[[0, 77, 500, 959]].tolist() == pytest.approx(values, abs=1e-9)
    assert merged.abs().sum().item() == pytest.approx(163.808411524, rel=1e-9)


def test_attention_starts_undecided():
    """Weights that start near 0 or 1 would hardly learn; init_weights, which comes after, leaves them."""
    torch.manual_seed(0)
    network = small_dla("attention")
    shares = []
    for module in network.modules():
        if isinstance(module, nn.Sigmoid | ChannelAttention):
            module.register_forward_hook(lambda _, args, output: shares.append(output.flatten()))
    network(images())
    weights = torch.cat(shares)
    assert weights.quantile(0.1) > 0.2 and weights.quantile(0.9) < 0.995


@pytest.mark.parametrize("key", ["node", "backbone_node"])
def test_attention_in_parts_of_one_image_is_refused(key):
    values = {"data": {"dataset": "scenes"}, "model": {key: "attention"}, "train": {"batch_size": 2, "accumulate": 2}}
    with pytest.raises(UserError, match=r"^parts of one image .* sees one pixel of them; raise train\.batch_size$"):
        require_possible(Config.model_validate(values))
    require_possible(Config.model_validate(values | {"train": {"batch_size": 2}}))


def test_residual_adds_the_deeper_map():
    node = ResidualNode(4).eval()
    nn.init.zeros_(node.bn.weight)
    x, y = torch.randn(2, 1, 4, 3, 3)
    assert torch.equal(node(x, y), y.relu())


def test_a_sum_is_the_concatenation_with_equal_kernels():
    concat, plain = NODES["concat"].decoder(4).eval(), SumNode(4).eval()
    with torch.no_grad():
        concat[0].weight.copy_(plain[0].weight.repeat(1, 2, 1, 1))
    x, y = torch.randn(2, 1, 4, 5, 6)
    torch.testing.assert_close(plain(x, y), concat(x, y))


def test_a_root_projects_children_of_another_width_alone():
    root = SumRoot((8, 8, 4), 8)
    assert [isinstance(project, nn.Identity) for project in root.projects] == [True, True, False]
    assert root(*(torch.randn(2, c, 3, 3) for c in (8, 8, 4))).shape == (2, 8, 3, 3)


def test_a_deformable_convolution_starts_as_half_a_plain_one():
    conv, x = DeformableConv(4, 6, 3), torch.randn(2, 4, 7, 5)
    expected = nn.functional.conv2d(x, conv.weight, padding=1) / 2  # its taps' weights are sigmoids of 0
    torch.testing.assert_close(conv(x), expected)
    network = small_dla("deformable")
    assert not any(part.offsets.weight.any() for part in network.modules() if isinstance(part, DeformableConv))


def test_offsets_are_down_and_right():
    conv, x = DeformableConv(1, 1, 1), torch.arange(12.0).view(1, 1, 3, 4)
    with torch.no_grad():
        conv.weight.fill_(1)
        conv.offsets.bias.copy_(
            torch.tensor([1.0, 0.5, 100])
        )  # one row down, half a pixel right, the tap's full weight
    assert conv(x)[0, 0, 0].tolist() == pytest.approx([4.5, 5.5, 6.5, 3.5])  # beyond the border there is 0


@pytest.mark.parametrize(("channels", "theirs"), [(64, 52_635), (128, 178_971), (256, 652_827)])
def test_parameters_of_centernet_s_nodes(channels, theirs):
    """Counted by running CenterNet's pose_dla_dcn.py (4c50fd3); its convolutions have a bias before normalisation."""
    assert sum(p.numel() for p in DeformableNode(channels).parameters()) == theirs - channels


def test_a_deformable_convolution_costs_what_a_plain_one_does_and_its_offsets():
    def macs(node):
        network = DLASeg(Pair(), DLAUp(Pair.channels, Pair.strides, node=node), 3, (0.5,) * 3, (0.25,) * 3)
        return count_macs(network, 16, 24)

    assert macs(DeformableNode) - macs(SumNode) == 27 * 9 * 4 * 8 * 12


def test_winograd_leaves_deformable_convolutions():
    node = folded(DeformableNode(128).eval())
    assert not any(isinstance(module, Winograd) for module in winograd(node).modules())


@pytest.mark.parametrize("state", ["missing", "of another version"])
def test_without_torchvision_one_line_says_so(state, monkeypatch):
    if state == "missing":
        monkeypatch.setitem(sys.modules, "torchvision.ops", None)
        monkeypatch.setitem(sys.modules, "torchvision", None)
    else:
        monkeypatch.setattr(torch.ops, "torchvision", object())
    with pytest.raises(UserError, match=r"^deformable convolutions are torchvision's, .*another model\.node$"):
        DeformableNode(4)
    assert SumNode(4) is not None


def training(node):
    torch.manual_seed(0)
    network = small_dla(node)
    optimizer = torch.optim.SGD(network.named_parameters(), 0.01, momentum=0.9)
    average = AveragedModel(network, multi_avg_fn=moving_average(0.9), use_buffers=True)
    return Training(network, optimizer, lambda step: 1 - step / 4, ema=average)


@pytest.mark.parametrize("node", ["attention", "deformable"])
def test_a_stopped_run_resumes_to_the_same_bits(node, tmp_path, monkeypatch):
    monkeypatch.setattr(log, "curves", lambda _: np.zeros((8, 8, 3), np.uint8))  # which take most of the time
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, first, second = training(node), training(node), training(node)
    train_tiny(tmp_path / "whole", whole, num_steps=4)
    train_tiny(tmp_path / "parts", first, num_steps=2)
    second.load_state_dict(read_state(tmp_path / "parts"))
    train_tiny(tmp_path / "parts", second, num_steps=4)
    assert second.step == 4
    for one, other in ((whole.model, second.model), (whole.ema, second.ema)):
        assert_same(dict(one.state_dict()), dict(other.state_dict()))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": {"node": "deformable"}, "train": {"deterministic": True}}, "does not hold for deformable nodes"),
        ({"model": {"backbone": "timm/resnet18", "decoder": "shallow", "node": "sum"}}, "timm/resnet18 has no node"),
        ({"model": {"node": "atention"}}, "it should be 'concat', 'residual', 'sum', 'attention' or 'deformable'"),
    ],
)
def test_what_does_not_go_together_is_answered_in_one_line(values, message):
    with pytest.raises(UserError) as error:
        parse({"data": {"dataset": "scenes"}, **values}, source="mine.yaml")
    assert message in str(error.value) and "\n" not in str(error.value)
