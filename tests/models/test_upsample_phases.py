import pytest
import torch
from torch import nn

from segdla.models.upsample import LearnedUpsample
from segdla.models.upsample_phases import PhaseUpsample, with_phases


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_phases_are_the_transposed_convolution(factor):
    torch.manual_seed(0)
    learned = LearnedUpsample(5, factor)
    nn.init.normal_(learned.weight)
    x = torch.randn(2, 5, 4, 7)
    with torch.no_grad():
        torch.testing.assert_close(PhaseUpsample(learned)(x), learned(x))


def test_every_learned_upsampling_is_replaced():
    network = with_phases(nn.Sequential(nn.ModuleList([LearnedUpsample(2, 2)]), LearnedUpsample(3, 4)))
    assert [type(m).__name__ for m in network.modules()].count("PhaseUpsample") == 2
    assert not any(isinstance(module, LearnedUpsample) for module in network.modules())
