import pytest
import torch

from segdla.models.dla import VARIANTS

# With the 1000-class head; counted in the authors' code, less the parameters that it never uses.
PARAMETERS = {
    "dla34": 15_742_104,
    "dla46_c": 1_301_400,
    "dla46x_c": 1_068_440,
    "dla60x_c": 1_319_832,
    "dla60": 22_036_632,
    "dla60x": 17_352_344,
    "dla102": 33_268_888,
    "dla102x": 26_309_272,
    "dla102x2": 41_282_200,
    "dla169": 53_389_720,
}


@pytest.mark.parametrize("name", VARIANTS)
def test_parameter_count(name):
    with torch.device("meta"):
        backbone = VARIANTS[name]()
    head = 1000 * (backbone.channels[-1] + 1)
    assert sum(p.numel() for p in backbone.parameters()) + head == PARAMETERS[name]


@pytest.mark.parametrize("name", VARIANTS)
def test_features_equal_timm(name):
    timm = pytest.importorskip("timm", reason="timm is the oracle (requirements-dev.txt)")
    theirs = timm.create_model(name, features_only=True, out_indices=range(6)).eval()
    for buffer in (b for n, b in theirs.named_buffers() if "running" in n):
        buffer.uniform_(0.5, 1.5)  # fresh statistics would hide a normalisation in the wrong place
    ours = VARIANTS[name]().eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        for mine, their in zip(ours(images), theirs(images), strict=True):
            torch.testing.assert_close(mine, their, rtol=0, atol=0)


def test_levels_have_the_channels_and_strides_of_the_backbone():
    backbone = VARIANTS["dla34"]().eval()
    with torch.inference_mode():
        features = backbone(torch.randn(2, 3, 64, 32))
    for feature, channels, stride in zip(features, backbone.channels, backbone.strides, strict=True):
        assert feature.shape == (2, channels, 64 // stride, 32 // stride)
