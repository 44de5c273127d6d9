import pytest
import torch

from segdla.models.ida import ConcatNode, DLAUp, IDAUp
from segdla.models.upsample import UPSAMPLERS, LearnedUpsample


def test_ida_merges_one_by_one_at_the_first_maps_shape():
    ida = IDAUp(8, (8, 16, 32), factors=(1, 2, 4), upsampler=LearnedUpsample, node=ConcatNode)
    merged = ida([torch.randn(1, 8, 16, 16), torch.randn(1, 16, 8, 8), torch.randn(1, 32, 4, 4)])
    assert [tuple(m.shape) for m in merged] == [(1, 8, 16, 16)] * 2


def test_dla34_at_stride_2_has_the_papers_ten_nodes():
    decoder = DLAUp((32, 64, 128, 256, 512), (2, 4, 8, 16, 32))
    inputs = [[node[0].in_channels // 2 for node in ida.nodes] for ida in decoder.idas]
    assert inputs == [[256], [128, 128], [64, 64, 64], [32, 32, 32, 32]]


@pytest.mark.parametrize("upsample", ["learned", "bilinear"])
def test_decoder_returns_the_shallowest_shape(upsample):
    decoder = DLAUp((8, 16, 32), (4, 8, 32), UPSAMPLERS[upsample])
    features = [torch.randn(2, 8, 16, 24), torch.randn(2, 16, 8, 12), torch.randn(2, 32, 2, 3)]
    assert decoder(features).shape == (2, 8, 16, 24)


def test_gradients_reach_every_parameter():
    decoder = DLAUp((8, 16, 32), (2, 4, 8))
    decoder([torch.randn(2, 8, 16, 16), torch.randn(2, 16, 8, 8), torch.randn(2, 32, 4, 4)]).square().sum().backward()
    assert all(p.grad is not None for p in decoder.parameters())
