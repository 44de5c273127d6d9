import copy

import pytest
import torch
from torch import nn

from segdla.models.dla import VARIANTS
from segdla.models.fold import folded
from segdla.models.segmenter import DLASeg


def trained_a_little(backbone):
    """A network whose batch normalisation has seen something, and is no identity."""
    network = DLASeg(VARIANTS[backbone](), 5, 4)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("backbone", ["dla34", "dla46x_c", "dla102"])
def test_folded_it_is_the_same_function(backbone):
    network = trained_a_little(backbone).double()  # in which rounding hides nothing
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network(images)
        torch.testing.assert_close(folded(copy.deepcopy(network))(images), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backbone", VARIANTS)
def test_all_batch_normalisation_is_folded(backbone):
    with torch.device("meta"):
        network = folded(DLASeg(VARIANTS[backbone](), 5, 2).eval())
    assert not [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
