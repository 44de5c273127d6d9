import argparse
import datetime
import re
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from segdla.errors import UserError
from segdla.models.dla import Tree
from segdla.models.from_config import create_model
from segdla.models.weights import load_weights, read_state_dict, require_fit, with_our_names, without_unused


def network(num_classes=3):
    return create_model("dla34", num_classes, output_stride=4)


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


def unused_parameters(model, prefix):
    """Parameters that the authors' code builds for every tree without a root of its own, and never uses."""
    unused = {}
    for name, tree in model.backbone.named_modules():
        if isinstance(tree, Tree) and tree.root is None:
            unused[f"{prefix}{name}.project.0.weight"] = torch.zeros(1)
            unused[f"{prefix}{name}.project.1.bias"] = torch.zeros(1)
    return unused


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
    state = as_the_authors_name_it(theirs.state_dict()) | unused_parameters(theirs, "base.")
    assert len(unused_parameters(theirs, "")) == 4  # level3 and level4 of DLA-34
    state |= {"up.weight": torch.zeros(3, 1, 8, 8), "base.fc.weight": torch.zeros(1000, 512, 1, 1)}
    loaded = load_weights(ours, {f"module.{name}": tensor for name, tensor in state.items()}, "seg.pth")
    assert_same(ours, theirs)
    assert str(loaded) == "seg.pth: all 253 tensors"


def test_classification_weights_fill_the_backbone_alone():
    theirs, ours = randomised(network()), network()
    before = ours.classifier.weight.clone()
    state = (
        theirs.backbone.state_dict()
        | unused_parameters(theirs, "")
        | {"fc.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}
    )
    state = {name: tensor for name, tensor in state.items() if "num_batches" not in name}  # as in files of 2018
    loaded = load_weights(ours, state, "dla34.pth")
    assert str(loaded) == "dla34.pth: 185 of 253 tensors; the decoder and the classifier start at random"
    for name, tensor in theirs.backbone.state_dict().items():
        assert "num_batches" in name or torch.equal(ours.backbone.state_dict()[name], tensor), name
    assert torch.equal(ours.classifier.weight, before)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"base.level2.root.conv.weight": 0}, ["backbone.level2.root.conv.weight"]),
        ({"base.base_layer.0.weight": 0, "base.fc.weight": 0, "up.weight": 0}, ["backbone.base_layer.0.weight"]),
        ({"base.base_layer.0.weight": 0, "fc.0.bias": 0}, ["backbone.base_layer.0.weight", "classifier.bias"]),
        (
            {
                "module.base.level0.0.bias": 0,
                "module.dla_up.ida_1.node_2.1.bias": 0,
                "module.dla_up.ida_1.up_2.weight": 0,
            },
            ["backbone.level0.0.bias", "decoder.idas.1.nodes.1.1.bias", "decoder.idas.1.ups.2.weight"],
        ),
        ({"base_layer.0.weight": 0, "fc.weight": 0}, ["backbone.base_layer.0.weight"]),
        ({"_orig_mod.backbone.base_layer.0.weight": 0, "fc.weight": 0}, ["backbone.base_layer.0.weight", "fc.weight"]),
    ],
)
def test_names_become_ours(theirs, ours):
    assert list(with_our_names(theirs)) == ours


def test_projections_are_dropped_where_a_tree_has_no_root():
    model = network()
    unused = unused_parameters(model, "backbone.")
    used = {name: tensor for name, tensor in model.state_dict().items() if ".project." in name}
    assert used and without_unused(used | unused, model) == used


def test_a_misfit_lists_three_tensors():
    expected = {f"t{number}": torch.zeros(2) for number in range(5)}
    require_fit(dict(reversed(expected.items())), expected, "here")
    require_fit({}, {"bn.num_batches_tracked": torch.zeros(())}, "here")
    with pytest.raises(
        UserError, match=r"^here does not fit this network: it lacks t0, t1, t2 and 2 more; check model"
    ):
        require_fit({}, expected, "here")
    with pytest.raises(UserError, match=r"it has unknown t4; check"):
        require_fit(expected, {name: expected[name] for name in ("t0", "t1", "t2", "t3")}, "here")
    with pytest.raises(UserError, match=r"it has misshapen t1 \(3,\) instead of \(2,\); check"):
        require_fit(expected | {"t1": torch.zeros(3)}, expected, "here")


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
def test_weights_are_loaded_strictly(change, message):
    state = dict(network().backbone.state_dict())
    change(state)
    with pytest.raises(UserError, match=message):
        load_weights(network(), state)


def test_weights_for_other_classes_are_refused():
    with pytest.raises(UserError, match="number of classes"):
        load_weights(network(5), network(3).state_dict())


def test_for_other_classes_all_but_the_classifier_is_loaded():
    theirs, ours = randomised(network(3)), network(5)
    before = ours.classifier.weight.clone()
    loaded = load_weights(ours, theirs.state_dict(), "x", other_classes=True)
    assert str(loaded) == "x: 251 of 253 tensors; the classifier starts at random"
    assert torch.equal(ours.classifier.weight, before)
    assert_same(ours.backbone, theirs.backbone)
    assert_same(ours.decoder, theirs.decoder)
    assert not load_weights(network(3), theirs.state_dict(), other_classes=True).left_out
    state = dict(theirs.state_dict())
    del state["decoder.idas.0.nodes.0.0.weight"]
    with pytest.raises(UserError, match=r"lacks decoder"):
        load_weights(ours, state, other_classes=True)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "ema", None])
def test_reading_files_of_torch(tmp_path, key):
    state = {"a": torch.arange(3.0)}
    optimizer = {"state": {0: torch.zeros(2)}, "param_groups": [{"lr": 0.1}]}
    content = state if key is None else {"optimizer": optimizer, key: state, "step": 3}
    torch.save(content, tmp_path / "weights.pth")
    assert torch.equal(read_state_dict(tmp_path / "weights.pth")["a"], state["a"])


def test_another_pickle_protocol_is_read_without_a_word_of_torch_s(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "weights.pth", pickle_protocol=3)
    assert torch.equal(read_state_dict(tmp_path / "weights.pth")["a"], torch.ones(2))


def test_of_several_state_dicts_the_network_s_is_taken_or_none(tmp_path):
    first, second = {"a": torch.zeros(1)}, {"a": torch.ones(1)}
    torch.save({"ema": first, "model": second}, tmp_path / "weights.pth")
    assert read_state_dict(tmp_path / "weights.pth")["a"] == 1
    torch.save({"teacher": first, "student": second}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"several state dicts \(teacher, student\); save the one that is meant"):
        read_state_dict(tmp_path / "weights.pth")


def test_figures_and_settings_beside_the_weights_do_no_harm(tmp_path):
    state = {"a": torch.arange(3.0)}
    figures = {"best": np.float64(0.7), "epoch": np.int32(3), "done": np.bool_(True), "history": np.arange(3.0)}
    settings = argparse.Namespace(lr=0.1, scale=np.float32(2), names=["a"])
    torch.save({"net": state, "args": settings, "rng": np.random.get_state(), **figures}, tmp_path / "weights.pth")
    assert torch.equal(read_state_dict(tmp_path / "weights.pth")["a"], state["a"])


def test_numpy_1_named_its_module_otherwise(tmp_path):
    path, patched = tmp_path / "weights.pth", tmp_path / "numpy1.pth"
    torch.save({"net": {"a": torch.ones(1)}, "best": np.float64(0.7)}, path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(patched, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"))
    assert b"cnumpy.core.multiarray\nscalar" in patched.read_bytes()
    assert read_state_dict(patched)["a"] == 1


def test_other_objects_are_named_with_the_way_out(tmp_path):
    torch.save({"net": {"a": torch.ones(1)}, "when": datetime.date(2020, 1, 1)}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"\(datetime.date\); save the weights alone.*torch.save\(model.state_dict\(\)"):
        read_state_dict(tmp_path / "weights.pth")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"\(torch.nn.modules.linear.Linear\); save the weights alone"):
        read_state_dict(tmp_path / "weights.pth")
    torch.save({"epoch": 3, "loss": 0.1}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"holds no state dict \(tensors by name\), but epoch, loss; save"):
        read_state_dict(tmp_path / "weights.pth")


def test_an_array_of_objects_is_no_array_of_figures(tmp_path):
    torch.save({"net": {"a": torch.ones(1)}, "b": np.array([None], object)}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="can be loaded safely"):
        read_state_dict(tmp_path / "weights.pth")


def test_a_folder_stands_for_the_one_file_of_weights_in_it(tmp_path):
    with pytest.raises(UserError, match=r"is a folder that holds none; give the path"):
        read_state_dict(tmp_path)
    save_file({"a": torch.arange(3.0)}, tmp_path / "model.safetensors")
    assert torch.equal(read_state_dict(tmp_path)["a"], torch.arange(3.0))
    save_file({"a": torch.arange(3.0)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"2 .safetensors files \(model.safetensors, other.safetensors\)"):
        read_state_dict(tmp_path)


def test_reading_safetensors(tmp_path):
    save_file({"a": torch.arange(3.0)}, tmp_path / "weights.safetensors")
    assert torch.equal(read_state_dict(tmp_path / "weights.safetensors")["a"], torch.arange(3.0))


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module._orig_mod.", "model.", "net."])
def test_weights_of_a_wrapped_network(wrapper):
    theirs, ours = randomised(network()), network()
    load_weights(ours, {f"{wrapper}{name}": tensor for name, tensor in theirs.state_dict().items()})
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
