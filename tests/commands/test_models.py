"""``segdla models`` on a few small networks."""

import json
import sys

import pytest

from segdla.models.from_config import create_model
from segdla.models.macs import count_macs


@pytest.fixture
def listing(tool, capfd):
    def run(*argv):
        assert tool("models")(*argv) == 0
        return capfd.readouterr().out

    return run


def test_a_network_s_cost_and_weights_are_its_own(listing, tmp_path):
    text = listing("dla46_c", "--output-stride", 8, "--json", tmp_path / "list.json")
    (entry,) = json.loads((tmp_path / "list.json").read_text(encoding="utf-8"))["networks"]
    network = create_model("dla46_c", 19, output_stride=8)
    assert entry["parameters"] == sum(p.numel() for p in network.parameters())
    assert entry["macs"] == count_macs(network, 512, 1024)
    assert entry["weights"] == ["timm/dla46_c.in1k"] and entry["output_stride"] == 8
    assert f"{entry['parameters'] / 1e6:.2f}" in text and f"{entry['macs'] / 1e9:.1f}" in text
    assert "extra onnx: " in text


def test_backbones_of_timm_are_listed_by_a_pattern(listing):
    pytest.importorskip("timm")
    text = listing("timm/test_conv?ext", "timm/test_vit")
    assert "timm/test_convnext " in text and "r160_in1k" in text
    assert "timm/test_vit: has maps at strides 16, 16, 16, which is no pyramid" in text
    assert "by pip" in listing("timm/efficientnet_lite1")


def test_without_timm_the_others_are_listed(listing, fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr("segdla.commands.models.find_spec", lambda name: None if name == "timm" else object())
    assert 'extra timm: missing: pip install "segdla[timm]"' in listing("dla46_c")
    assert "the package timm is not installed" in fails("models", "timm/resnet*")


def test_names_that_are_none_get_the_nearest(fails, monkeypatch):
    monkeypatch.setattr("segdla.commands.models.find_spec", lambda name: None)  # timm's names take a second
    assert "no network is named 'dla35'; the nearest are dla34" in fails("models", "dla35")
    assert "the nearest are torchvision/fcn_resnet50" in fails("models", "fcn_resnet5")
