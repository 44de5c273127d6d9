import re

import pytest
import torch
from safetensors.torch import save_file

from segdla.errors import UserError
from segdla.models.dla import VARIANTS, Tree
from segdla.models.segmenter import DLASeg
from segdla.models.weights import load_weights, read_state_dict


def network(num_classes=3):
    return DLASeg(VARIANTS["dla34"](), num_classes, output_stride=4)


def as_the_authors_name_it(state):
    """The authors' segmentation names, written from their code: base, dla_up.ida_i.{proj,up,node}_j, fc.0."""
    renamed = {}
    for name, tensor in state.items():
        name = re.sub(r"^backbone\.", "base.", name)
        name = re.sub(r"^classifier\.", "fc.0.", name)
        name = re.sub(r"^decoder\.idas\.(\d)\.(proj|up)s\.(\d)", r"dla_up.ida_\1.\2_\3", name)
        name = re.sub(r"^decoder\.idas\.(\d)\.nodes\.(\d)", lambda m: f"dla_up.ida_{m[1]}.node_{int(m[2]) + 1}", name)
        renamed[name] = tensor
    return renamed


def dead_parameters(model, prefix):
    """What the authors' code builds for every tree without a root of its own, and never uses."""
    dead = {}
    for name, tree in model.backbone.named_modules():
        if isinstance(tree, Tree) and tree.root is None:
            dead[f"{prefix}{name}.project.0.weight"] = torch.zeros(1)
            dead[f"{prefix}{name}.project.1.bias"] = torch.zeros(1)
    return dead


def randomised(model):
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1)
    return model


def assert_same(left, right):
    for (name, a), b in zip(left.state_dict().items(), right.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_authors_segmentation_weights():
    theirs, ours = randomised(network()), network()
    state = as_the_authors_name_it(theirs.state_dict()) | dead_parameters(theirs, "base.")
    assert len(dead_parameters(theirs, "")) == 4  # level3 and level4 of DLA-34
    state |= {"up.weight": torch.zeros(3, 1, 8, 8), "base.fc.weight": torch.zeros(1000, 512, 1, 1)}
    load_weights(ours, {f"module.{name}": tensor for name, tensor in state.items()})
    assert_same(ours, theirs)


def test_classification_weights_fill_the_backbone_alone():
    theirs, ours = randomised(network()), network()
    before = ours.classifier.weight.clone()
    state = (
        theirs.backbone.state_dict()
        | dead_parameters(theirs, "")
        | {"fc.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}
    )
    state = {name: tensor for name, tensor in state.items() if "num_batches" not in name}  # as files of 2018 have it
    load_weights(ours, state)
    for name, tensor in theirs.backbone.state_dict().items():
        assert "num_batches" in name or torch.equal(ours.backbone.state_dict()[name], tensor), name
    assert torch.equal(ours.classifier.weight, before)


def test_timm_weights():
    timm = pytest.importorskip("timm", reason="timm is the oracle (requirements-dev.txt)")
    theirs, ours = timm.create_model("dla34"), network()
    load_weights(ours, theirs.state_dict())
    assert torch.equal(ours.backbone.level5.root.conv.weight, theirs.level5.root.conv.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("level2.root.conv.weight"), "lacks backbone.level2.root.conv.weight"),
        (
            lambda state: state.update({"level2.project.1.extra": torch.zeros(1)}),
            "unknown backbone.level2.project.1.extra",
        ),
        (lambda state: state.update({"base_layer.0.weight": torch.zeros(8, 3, 7, 7)}), r"\(8, 3, 7, 7\) instead of"),
    ],
)
def test_the_rest_is_strict(change, message):
    state = dict(network().backbone.state_dict())
    change(state)
    with pytest.raises(UserError, match=message):
        load_weights(network(), state)


def test_weights_for_other_classes_are_refused():
    with pytest.raises(UserError, match="number of classes"):
        load_weights(network(5), network(3).state_dict())


def test_to_learn_other_classes_all_but_the_classifier_is_taken():
    theirs, ours = randomised(network(3)), network(5)
    before = ours.classifier.weight.clone()
    assert load_weights(ours, theirs.state_dict(), other_classes=True)
    assert torch.equal(ours.classifier.weight, before)
    assert_same(ours.backbone, theirs.backbone)
    assert_same(ours.decoder, theirs.decoder)
    assert not load_weights(network(3), theirs.state_dict(), other_classes=True)
    state = dict(theirs.state_dict())
    del state["decoder.idas.0.nodes.0.0.weight"]
    with pytest.raises(UserError, match=r"lacks decoder"):
        load_weights(ours, state, other_classes=True)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", None])
def test_reading_files_of_torch(tmp_path, key):
    state = {"a": torch.arange(3.0)}
    torch.save(state if key is None else {key: state, "step": 3}, tmp_path / "weights.pth")
    assert torch.equal(read_state_dict(tmp_path / "weights.pth")["a"], state["a"])


def test_reading_safetensors(tmp_path):
    save_file({"a": torch.arange(3.0)}, tmp_path / "weights.safetensors")
    assert torch.equal(read_state_dict(tmp_path / "weights.safetensors")["a"], torch.arange(3.0))


def test_weights_of_a_compiled_network():
    theirs, ours = randomised(network()), network()
    load_weights(ours, {f"_orig_mod.{name}": tensor for name, tensor in theirs.state_dict().items()})
    assert_same(ours, theirs)


class Payload:
    def __reduce__(self):
        return (eval, ("__import__('pathlib').Path('ran').touch()",))


@pytest.mark.parametrize("content", [b"", b"not weights", {"epoch": 3}, {3: torch.zeros(1)}, {"a": Payload()}])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_hold_no_weights(tmp_path, monkeypatch, content, suffix):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(UserError, match=r"holds no (weights|state dict)"):
        read_state_dict(path)
    assert not (tmp_path / "ran").exists()


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="no weights file"):
        read_state_dict(tmp_path / "none.pth")
