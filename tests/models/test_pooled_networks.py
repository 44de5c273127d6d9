"""Networks that label whole images: the authors' and timm's classification networks, and what others start from."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from segdla import create_model
from segdla.errors import UserError
from segdla.models.fold import folded
from segdla.models.weights import load_weights

LITE = "timm/tf_efficientnet_lite0"


def images(side):
    return torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def logits(network, x):
    with torch.inference_mode():
        return network.eval()(x)[..., 0, 0]


def calm(theirs):
    """Give norms statistics other than those they start with, under which logits have a size of 1."""
    with torch.no_grad():
        theirs.train()(torch.randn(8, 3, 64, 64))
    return theirs.eval()


@pytest.mark.parametrize("name", ["dla46_c", "dla34", "dla60x_c"])
def test_logits_are_timm_s_on_copied_weights(name):
    theirs = calm(timm.create_model(name, num_classes=7))
    ours = create_model(name, 7, decoder="pool")
    loaded = load_weights(ours, {f"module.{key}": tensor for key, tensor in theirs.state_dict().items()})
    assert loaded.left_out == ()
    x = images(64)
    with torch.inference_mode():
        expected = theirs((x - ours.mean) / ours.std)
    assert torch.allclose(logits(ours, x), expected, atol=1e-5 * expected.abs().max().item())
    assert torch.allclose(logits(folded(ours), x), expected, atol=1e-4 * expected.abs().max().item())


def test_a_network_of_timm_s_is_whole(tmp_path):
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    save_file(theirs.state_dict(), tmp_path / "lite.safetensors")
    ours = create_model(LITE, 1000, decoder="pool", weights=str(tmp_path / "lite.safetensors"))
    x = images(50)  # no multiple of 32: it is not padded
    with torch.inference_mode():
        expected = theirs((x - ours.mean) / ours.std)
    assert torch.allclose(logits(ours, x), expected, atol=1e-5)  # its classifier multiplies in another order
    fewer = create_model(LITE, 3, decoder="pool", weights=str(tmp_path / "lite.safetensors"))
    assert torch.equal(fewer.backbone.trunk.conv_head.weight, theirs.conv_head.weight)


@pytest.mark.parametrize("backbone", ["dla46_c", LITE, "timm/resnet10t"])
def test_networks_for_masks_start_from_it(tmp_path, backbone, capsys):
    pooled = create_model(backbone, 3, decoder="pool")
    save_file(pooled.state_dict(), tmp_path / "best.safetensors")
    masks = create_model(backbone, 5, output_stride=4, weights=str(tmp_path))
    assert "the decoder and the classifier start at random" in capsys.readouterr().out
    ours = {name.replace(".trunk.", ".body."): tensor for name, tensor in pooled.state_dict().items()}
    assert all(
        torch.equal(tensor, ours[name]) for name, tensor in masks.backbone.state_dict(prefix="backbone.").items()
    )


def test_it_starts_from_a_network_for_masks(tmp_path):
    masks = create_model("dla46_c", 5, output_stride=4)
    save_file(masks.state_dict(), tmp_path / "best.safetensors")
    pooled = create_model("dla46_c", 5, decoder="pool", weights=str(tmp_path))
    assert torch.equal(pooled.backbone.level5.root.conv.weight, masks.backbone.level5.root.conv.weight)


def test_a_damaged_trunk_is_answered(tmp_path):
    state = create_model(LITE, 3, decoder="pool").state_dict()
    del state["backbone.trunk.conv_stem.weight"]
    save_file(state, tmp_path / "best.safetensors")
    with pytest.raises(UserError, match=r"does not fit this network: it lacks conv_stem\.weight"):
        create_model(LITE, 5, weights=str(tmp_path))


def test_pooling_has_no_output_stride():
    with pytest.raises(UserError, match="decoder pool gives one label an image, and has no output_stride"):
        create_model("dla34", 3, decoder="pool", output_stride=4)
