"""Backbones of timm: of four families a step, odd sizes, folding and export; and those that can't be used."""

import copy
import sys
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import save_file
from tiny_run import TINY, assert_same_run
from torch import nn

import segdla
from segdla.checkpoints.checkpoint import Card
from segdla.config import parse
from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.export.formats import open_file, write_file
from segdla.export.from_config import is_for_one_size
from segdla.export.graph import Graph, traced
from segdla.export.verify import differences, pictures
from segdla.models.fold import folded
from segdla.models.from_config import build_network, completed, create_model
from segdla.models.timm_backbone import EvenSameConv, TimmBackbone, without_weights
from segdla.training.from_config import parameter_groups

timm = pytest.importorskip("timm", reason='backbones of timm take an extra: pip install "segdla[timm]"')

FAMILIES = ("test_resnet", "test_efficientnet", "test_convnext", "mobilenetv4_conv_small")
SWIN = "swin_tiny_patch4_window7_224"
# Networks of use, one a family: what takes seconds each is tested on small ones, and on these by pytest -m slow.
LARGE = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("resnet18", "mobilenetv4_conv_small", "convnext_atto", "tf_efficientnet_lite0", SWIN)
]


@pytest.fixture(scope="session")
def networks():
    """A network over a small backbone of each family, with statistics that are no identity."""
    torch.manual_seed(0)
    made = {name: create_model(f"timm/{name}", 3, output_stride=4).eval() for name in FAMILIES}
    for network in made.values():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)
    return made


@pytest.mark.parametrize("name", FAMILIES)
def test_a_backbone_gives_timm_s_maps(name):
    torch.manual_seed(1)
    backbone = TimmBackbone(name).eval()
    torch.manual_seed(1)
    theirs = timm.create_model(name, features_only=True).eval()
    images = torch.randn(1, 3, 64, 96)
    assert all(map(torch.equal, backbone(images), theirs(images)))
    assert backbone.strides == tuple(theirs.feature_info.reduction())


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (1, 2)])
def test_tensorflow_s_padding_of_even_maps(kernel, stride):
    theirs = timm.layers.Conv2dSame(3, 4, kernel, stride)
    x = torch.randn(1, 3, 6, 8)
    expected = theirs(x)
    theirs.__class__ = EvenSameConv
    assert torch.equal(theirs(x), expected)


def test_no_padding_is_left_to_depend_on_symbols():
    with torch.device("meta"):
        modules = list(TimmBackbone("tf_efficientnet_lite0").modules())
    assert sum(isinstance(module, EvenSameConv) for module in modules) == 5
    assert not any(isinstance(module, timm.layers.Conv2dSame) for module in modules)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_learns_and_any_size_is_predicted(networks, name):
    network = copy.deepcopy(networks[name]).train()
    images = torch.randint(0, 256, (2, 3, 33, 50), dtype=torch.uint8)
    logits = network(images)
    assert logits.shape == (2, 3, 33, 50)
    logits.square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", FAMILIES)
def test_a_folded_network_is_the_same_function(networks, name):
    network = copy.deepcopy(networks[name]).double()  # float64, in which rounding hides nothing
    images = pictures([(40, 50)])[0]
    with torch.inference_mode():
        expected = network(images)
        result = folded(network)
        torch.testing.assert_close(result(images), expected, rtol=1e-9, atol=1e-9)
    left = sum(isinstance(module, nn.BatchNorm2d) for module in result.modules())
    assert left < sum(isinstance(module, nn.BatchNorm2d) for module in networks[name].modules()) / 4


def test_modules_that_are_called_in_another_order_are_not_folded(networks):
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x):
            return [self.conv(self.bn(x))]

    backbone = copy.deepcopy(networks["test_resnet"].backbone)
    backbone.body = Backwards()
    nn.init.uniform_(backbone.body.bn.bias)
    network = nn.Sequential(backbone).eval()
    images = torch.randn(1, 3, 8, 8)
    expected = network(images)[0]
    assert torch.equal(folded(network)(images)[0], expected)
    assert isinstance(network[0].body.bn, nn.BatchNorm2d)


@pytest.mark.parametrize("name", FAMILIES[:3])
def test_one_graph_serves_all_sizes(networks, name):
    """The graph is what every format is made from; ONNX's own step takes seconds, and is tested on one family."""
    graph = Graph(networks[name])
    module = traced(graph).module(check_guards=False)  # as a file of it is opened
    for image in pictures([(20, 31), (65, 97)]):
        logits, class_ids = module(image)
        expected, expected_ids = graph(image)
        torch.testing.assert_close(logits, expected)
        assert torch.equal(class_ids, expected_ids)


@pytest.mark.parametrize("name", ["test_resnet", *LARGE[:4]])
def test_onnx_computes_the_same(name, tmp_path):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    network = create_model(f"timm/{name}", 3, output_stride=8).eval()
    path = tmp_path / "network.onnx"
    write_file(network, Card({}, Classes(("a", "b", "c"), ((0, 0, 0),) * 3)), path, "onnx")
    exported = open_file(path, torch.device("cpu"))
    assert all(d.is_small for d in differences(network, exported, pictures([(20, 31), (65, 97)])))


@pytest.mark.parametrize(("name", "expected"), [("timm/" + SWIN, True), ("timm/resnet18", False), ("dla34", False)])
def test_files_of_a_network_with_windows_are_for_one_size(name, expected):
    values = {"data": {"dataset": "scenes"}, "model": {"backbone": name, "output_stride": 4}}
    assert is_for_one_size(parse(values), "onnx") == expected


@pytest.mark.slow
def test_onnx_of_a_network_with_windows_computes_the_same(tmp_path):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    network, path = create_model(f"timm/{SWIN}", 3, output_stride=4).eval(), tmp_path / "network.onnx"
    write_file(network, Card({}, Classes(("a", "b", "c"), ((0, 0, 0),) * 3)), path, "onnx", size=(96, 160))
    exported = open_file(path, torch.device("cpu"))
    assert exported.size == (96, 160)
    assert all(d.is_small for d in differences(network, exported, pictures([(96, 160)])))


def test_a_backbone_of_a_fixed_size_takes_any_if_timm_lets_it():
    with torch.device("meta"):
        backbone = TimmBackbone(SWIN)
        maps = backbone(torch.zeros(1, 3, 96, 160))
    assert [tuple(x.shape) for x in maps] == [(1, 96, 24, 40), (1, 192, 12, 20), (1, 384, 6, 10), (1, 768, 3, 5)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test_resnett", "timm has no network 'test_resnett'; the nearest names are test_resnet"),
        ("test_resnet.foo", "timm has no weights 'test_resnet.foo'; the nearest names are test_resnet.r160_in1k"),
        ("test_vit", "timm/test_vit has maps at strides 16, 16, 16, which is no pyramid"),
        (
            "test_maxvit",
            "test_maxvit is for images of 160x160, and can't take one of 96x64 (height (24) must be divisible",
        ),
    ],
)
def test_what_can_not_be_used_is_answered(name, message):
    with torch.device("meta"), pytest.raises(UserError) as error:
        TimmBackbone(name)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_output_stride_that_there_is_not():
    with pytest.raises(UserError, match=r"strides 4, 8, 16, 32; set model.output_stride \(now 2\) to one of them"):
        create_model("timm/test_convnext", 3)


def test_a_run_keeps_the_numbers_of_its_backbone_s_normalisation():
    values = {"data": {"dataset": "scenes"}, "model": {"backbone": "timm/test_resnet", "output_stride": 4}}
    assert completed(parse(values)).model.mean == (0.5, 0.5, 0.5)
    own = parse(values, {"model.mean": [0.4, 0.4, 0.4]})
    assert completed(own).model.mean == (0.4, 0.4, 0.4) and completed(own).model.std == (0.5, 0.5, 0.5)
    assert float(build_network(parse(values).model, 3).mean[0]) == 127.5


def test_tables_of_biases_do_not_decay():
    with torch.device("meta"):
        network = create_model(f"timm/{SWIN}", 3, output_stride=4)
    t = parse({"data": {"dataset": "scenes"}, "train": {"decay_all": False, "backbone_lr": 0.1}}).train
    groups = {name: group for group in parameter_groups(network, t) for name, _ in group["params"]}
    table = next(name for name in groups if name.endswith("relative_position_bias_table"))
    weight = next(name for name in groups if name.endswith("attn.qkv.weight"))
    assert groups[table]["weight_decay"] == 0 and groups[weight]["weight_decay"] > 0
    assert groups[weight]["lr"] == pytest.approx(0.1 * groups["classifier.weight"]["lr"])


def test_weights_of_a_classifier_fill_the_backbone(tmp_path, capsys, caplog):
    theirs = timm.create_model("test_resnet", num_classes=1000).eval()
    path = tmp_path / "model.safetensors"
    save_file(theirs.state_dict(), path)
    network = create_model("timm/test_resnet", 3, output_stride=4, weights=str(path)).eval()
    assert "the decoder and the classifier start at random" in capsys.readouterr().out
    assert caplog.records == []
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(network.backbone(images)[-1], theirs.forward_intermediates(images)[1][-1])


def test_weights_that_do_not_fit_are_answered(tmp_path):
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"model.safetensors does not fit timm/test_resnet \("):
        create_model("timm/test_resnet", 3, output_stride=4, weights=str(tmp_path / "model.safetensors"))
    assert "timm publishes no weights for nfnet_f0; the nearest names are dm_nfnet_f0" in without_weights("nfnet_f0")


@pytest.mark.parametrize("breakage", [None, SimpleNamespace(__path__=[])])
def test_timm_missing_or_broken_leaves_the_rest_alone(breakage, monkeypatch):
    def broken(name, *rest, real=__import__, **keywords):
        if name == "timm":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name, *rest, **keywords)

    if breakage is None:
        monkeypatch.setitem(sys.modules, "timm", None)
    else:
        monkeypatch.setattr("builtins.__import__", broken)
    reason = "is not installed" if breakage is None else r"can't be imported \(operator torchvision::nms"
    with pytest.raises(UserError, match=rf'the package timm {reason}.*pip install "segdla\[timm\]"'):
        create_model("timm/test_resnet", 3, output_stride=4)
    assert create_model("dla46_c", 3, output_stride=8).output_stride == 8


@pytest.mark.parametrize("name", ["test_efficientnet", *LARGE])
def test_a_run_is_resumed_to_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.setattr("segdla.training.log.curves", lambda _: torch.zeros(8, 8, 3, dtype=torch.uint8).numpy())
    config = yaml.safe_load(TINY) | {"model": {"backbone": f"timm/{name}", "output_stride": 4}}
    config = parse(config, {"train.epochs": 2, "train.eval_every": 1, "train.backbone_lr": 0.5})
    half = segdla.train(config, {"train.epochs": 1, "train.schedule": "step", "train.milestones": [9]}, runs=tmp_path)
    once = segdla.train(config, {"train.schedule": "step", "train.milestones": [9]}, runs=tmp_path, name="once")
    resumed = segdla.resume(half, {"train.epochs": 2})
    assert_same_run(once.folder, resumed.folder)
    scores = segdla.evaluate(resumed, multiscale=True, device="cpu")
    assert 0 <= scores.mean_iou <= 1
