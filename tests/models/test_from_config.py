import re
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import segdla
from segdla.config import ModelConfig
from segdla.config.model import Variant
from segdla.errors import UserError
from segdla.models.dla import VARIANTS
from segdla.models.from_config import build_network, create_model, load_initial_weights
from segdla.models.upsample import UPSAMPLERS


def settings(**values):
    return ModelConfig.model_validate({"backbone": "dla46_c", **values})


def test_the_config_names_every_variant_and_upsampler():
    assert get_args(Variant) == tuple(VARIANTS)
    assert ModelConfig.model_fields["upsample"].annotation.__args__ == tuple(UPSAMPLERS)


def test_a_created_model_takes_bytes_of_any_size():
    model = segdla.create_model("dla46_c", num_classes=4, output_stride=8)
    assert isinstance(model, nn.Module) and model.output_stride == 8
    images = torch.randint(0, 256, (2, 3, 33, 50), dtype=torch.uint8)
    assert model(images).shape == (2, 4, 33, 50)


def test_a_created_model_is_the_config_s_network():
    values = {"output_stride": 4, "upsample": "bilinear", "mean": (0.5, 0.4, 0.3), "std": (0.1, 0.2, 0.3)}
    torch.manual_seed(3)
    expected = build_network(settings(**values), 4).eval()
    torch.manual_seed(3)
    model = create_model("dla46_c", 4, **values).eval()
    torch.testing.assert_close(model.mean.flatten() / 255, torch.tensor([0.5, 0.4, 0.3]))
    torch.testing.assert_close(model.std.flatten() / 255, torch.tensor([0.1, 0.2, 0.3]))
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(model(images), expected(images))


@pytest.mark.parametrize("num_classes", [4, 7])
def test_weights_come_from_a_file(tmp_path, num_classes):
    trained = create_model("dla46_c", 4)
    save_file(trained.state_dict(), tmp_path / "weights.safetensors")
    model = create_model("dla46_c", num_classes, weights=str(tmp_path / "weights.safetensors"))
    assert all(map(torch.equal, model.backbone.state_dict().values(), trained.backbone.state_dict().values()))
    same_classes = num_classes == 4
    assert (model.classifier.weight.shape == trained.classifier.weight.shape) == same_classes
    assert not same_classes or torch.equal(model.classifier.weight, trained.classifier.weight)


def test_initial_weights_say_how_much_they_fill(tmp_path, capsys):
    trained, path = create_model("dla46_c", 4), tmp_path / "weights.safetensors"

    def said(num_classes):
        with_weights = settings(weights=str(path))
        load_initial_weights(build_network(with_weights, num_classes), with_weights)
        return capsys.readouterr().out.removeprefix(f"{path}: ")

    load_initial_weights(build_network(settings(), 4), settings())
    assert capsys.readouterr().out == ""
    save_file(trained.state_dict(), path)
    assert re.fullmatch(r"all (\d+) tensors\n", said(4))
    assert re.fullmatch(r"(\d+) of (\d+) tensors; the classifier starts at random\n", said(5))
    save_file(trained.backbone.state_dict(), path)
    assert re.fullmatch(r"(\d+) of (\d+) tensors; the decoder and the classifier start at random\n", said(4))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "dla35"}, "create_model: 'model.backbone' is 'dla35': it should be 'dla34'"),
        ({"output_stride": 3}, "create_model: 'model.output_stride' is 3: it should be 2, 4, 8, 16 or 32"),
        ({"stride": 4}, "create_model: unknown key 'model.stride'"),
        ({"mean": (0.5, 0.5)}, "create_model: 'model.mean.2' is missing"),
        ({"num_classes": 0}, "num_classes is 0; give the number of classes, 1 or more"),
        ({"weights": "none.pth"}, "no weights file at none.pth"),
    ],
)
def test_settings_that_do_not_fit_are_answered(values, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        create_model(**values)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_weights_of_another_network_are_answered(tmp_path):
    save_file(create_model("dla46_c", 4).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=r"weights.safetensors does not fit this network"):
        create_model("dla34", 4, weights=str(tmp_path / "weights.safetensors"))
