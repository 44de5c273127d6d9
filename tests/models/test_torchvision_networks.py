"""Networks of torchvision as parts of ours: the same function, in the same engine."""

import copy
import sys

import pytest
import torch
import yaml
from tiny_run import TINY
from torch import nn

import segdla
from segdla.config import parse
from segdla.errors import UserError
from segdla.export.graph import Graph, traced
from segdla.export.verify import pictures
from segdla.models.fold import folded
from segdla.models.from_config import create_model, load_initial_weights
from segdla.models.torchvision_networks import NETWORKS
from segdla.training.from_config import require_possible

segmentation = pytest.importorskip("torchvision.models.segmentation")

LITE = "torchvision/lraspp_mobilenet_v3_large"


@pytest.fixture(scope="session")
def lite():
    torch.manual_seed(0)
    return create_model(network=LITE, num_classes=4).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_it_computes_what_torchvision_s_does(name):
    _, settings = NETWORKS[name]
    torch.manual_seed(2)
    theirs = getattr(segmentation, name.split("/")[1])(weights=None, weights_backbone=None, num_classes=4, **settings)
    torch.manual_seed(2)  # both draw the same initial weights
    ours = create_model(network=name, num_classes=4, mean=(0, 0, 0), std=(1, 1, 1)).eval()
    images = torch.randint(0, 256, (1, 3, 32, 48), dtype=torch.uint8)
    with torch.inference_mode():
        expected = theirs.eval()(images / 255)["out"]
        torch.testing.assert_close(ours(images), expected, rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in ours.parameters()) - sum(p.numel() for p in theirs.parameters()) in (0, -4)


def test_every_parameter_learns_and_any_size_is_predicted(lite):
    network = copy.deepcopy(lite).train()
    logits = network(torch.randint(0, 256, (2, 3, 33, 50), dtype=torch.uint8))
    assert logits.shape == (2, 4, 33, 50)
    logits.square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_folding_and_the_exported_graph_change_nothing(lite):
    image = pictures([(41, 50)])[0]
    with torch.inference_mode():
        expected = lite.logits(image)
        result = folded(copy.deepcopy(lite))
        torch.testing.assert_close(result.logits(image), expected)
        torch.testing.assert_close(traced(Graph(lite)).module()(image)[0], expected)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in result.modules())


def test_it_trains_and_opens_again(tmp_path, monkeypatch):
    monkeypatch.setattr("segdla.training.log.curves", lambda _: torch.zeros(8, 8, 3, dtype=torch.uint8).numpy())
    config = parse(yaml.safe_load(TINY) | {"model": {"network": LITE}}, {"train.epochs": 1, "train.eval_every": 1})
    run = segdla.train(config, runs=tmp_path)
    segmenter = segdla.load(run, "cpu")
    assert segmenter.predict(torch.zeros(3, 30, 50, dtype=torch.uint8)).shape == (30, 50)
    assert segdla.evaluate(run, device="cpu", multiscale=True).mean_iou >= 0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"network": "torchvision/fcn_resnet51"}, "it should be 'torchvision/fcn_resnet50'"),
        ({"network": LITE, "output_stride": 4}, f"{LITE} has no output_stride; leave that out, or leave out {LITE}"),
        ({"network": LITE, "backbone": "dla60", "node": "sum"}, "has no backbone and no node"),
        ({"backbone": LITE}, f"{LITE} is a whole network: set model.network to it"),
        ({"backbone": "timm/resnet18", "aggregation": "tree"}, "timm/resnet18 has no aggregation"),
    ],
)
def test_keys_that_do_not_fit_together_are_answered(model, message):
    with pytest.raises(UserError) as error:
        parse({"data": {"dataset": "scenes"}, "model": model})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_part_of_one_image_is_too_small_for_deeplab():
    settings = {"data": {"dataset": "scenes"}, "train": {"batch_size": 2, "accumulate": 2}}
    require_possible(parse(settings))
    with pytest.raises(UserError, match=r"sees one pixel of them; raise train.batch_size"):
        require_possible(parse(settings, {"model.network": "torchvision/deeplabv3_resnet50"}))


def test_published_weights_are_for_backbones(lite):
    model = parse({"data": {"dataset": "scenes"}, "model": {"network": LITE, "weights": "dla34-ba72cf86.pth"}}).model
    with pytest.raises(UserError, match=f"dla34-ba72cf86.pth is for backbones of DLA and timm; give {LITE} a file"):
        load_initial_weights(lite, model)


@pytest.mark.parametrize("is_missing", [True, False])
def test_torchvision_missing_or_broken_leaves_the_rest_alone(is_missing, monkeypatch):
    def broken(name, *rest, real=__import__, **keywords):
        if name.startswith("torchvision"):
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name, *rest, **keywords)

    if is_missing:
        for module in [name for name in sys.modules if name.startswith("torchvision")]:
            monkeypatch.setitem(sys.modules, module, None)
    else:
        monkeypatch.setattr("builtins.__import__", broken)
    reason = "is not installed" if is_missing else r"can't be imported \(operator torchvision::nms does not exist\)"
    with pytest.raises(UserError, match=f"{LITE}: the package torchvision {reason}; pip install the torchvision"):
        create_model(network=LITE)
    assert create_model("dla46_c", 3, output_stride=8).output_stride == 8
