import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segdla.config import ModelConfig
from segdla.models.dla import DLA, BasicBlock
from segdla.models.dlaseg import DLASeg
from segdla.models.from_config import DECODERS, build_network
from segdla.models.ida import DLAUp
from segdla.models.skips import LastMap, SkipSum
from segdla.models.upsample import BilinearUpsample


def features(channels=(4, 8, 16), strides=(4, 8, 32)):
    return [torch.randn(2, c, 64 // s, 96 // s) for c, s in zip(channels, strides, strict=True)]


def test_the_sum_is_of_class_scores_of_each_level():
    """By linearity, the classifier of the sum is FCN's sum of classifiers, each upsampled step by step."""
    torch.manual_seed(0)
    decoder = SkipSum((4, 8, 16), (4, 8, 32), BilinearUpsample).eval()
    classifier = nn.Conv2d(4, 3, 1, bias=False)
    maps = features()
    with torch.no_grad():
        c4, c8, c32 = (classifier(proj(m)) for proj, m in zip(decoder.projs, maps, strict=True))
        expected = c4 + F.interpolate(c8 + F.interpolate(c32, size=(8, 12), mode="bilinear"), (16, 24), mode="bilinear")
        torch.testing.assert_close(classifier(decoder(maps)), expected)


@pytest.mark.parametrize("strides", [(2, 4, 8), (4, 4, 32)])
def test_the_sum_has_the_first_shape_and_learns(strides):
    decoder = SkipSum((8, 12, 16), strides)
    merged = decoder(features((8, 12, 16), strides))
    assert merged.shape == (2, 8, 64 // strides[0], 96 // strides[0])
    assert (decoder.out_channels, decoder.output_stride) == (8, strides[0])
    merged.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in decoder.parameters())


def test_without_a_decoder_the_deepest_map_is_classified():
    backbone = DLA((1,) * 6, (4, 4, 4, 4, 4, 8), BasicBlock)
    network = DLASeg(
        backbone, LastMap(backbone.channels[-1:], backbone.strides[-1:]), 3, (0.5,) * 3, (0.25,) * 3
    ).eval()
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        deepest = backbone((images - network.mean) / network.std)[-1]
        expected = F.interpolate(network.classifier(deepest), size=(64, 96), mode="bilinear")
        torch.testing.assert_close(network(images), expected)
    assert network.output_stride == 32 and not list(network.decoder.parameters())


@pytest.mark.parametrize(
    ("decoder", "kind", "stride"), [("ida", DLAUp, 16), ("shallow", SkipSum, 2), ("none", LastMap, 32)]
)
def test_the_config_chooses_a_decoder(decoder, kind, stride):
    network = build_network(ModelConfig(backbone="dla46_c", decoder=decoder, output_stride=stride), 5).eval()
    assert type(network.decoder) is kind
    images = torch.zeros(1, 3, 33, 50, dtype=torch.uint8)
    with torch.inference_mode():
        assert network(images).shape == (1, 5, 33, 50)


def test_the_config_names_every_decoder():
    assert ModelConfig.model_fields["decoder"].annotation.__args__ == tuple(DECODERS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decoder": "none"}, r"decoder none reads the maps of stride 32 alone; set output_stride \(now 2\) to 32"),
        ({"output_stride": 32}, "output_stride 32 leaves decoder ida nothing to merge; lower it, or set decoder: none"),
    ],
)
def test_a_stride_that_does_not_fit_the_decoder_is_answered(values, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**values)
