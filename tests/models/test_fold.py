import copy

import pytest
import torch
from torch import nn

from segdla.models.dla import VARIANTS
from segdla.models.fold import folded, for_prediction
from segdla.models.from_config import create_model
from segdla.models.winograd import Winograd


def random_network(backbone):
    """A network with random weights and statistics of batch normalisation, which is then no identity."""
    network = create_model(backbone, 5, output_stride=4)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("backbone", ["dla34", "dla46x_c", "dla102"])
def test_a_folded_network_is_the_same_function(backbone):
    network = random_network(backbone).double()  # float64, in which rounding hides nothing
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network(images)
        torch.testing.assert_close(folded(copy.deepcopy(network))(images), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backbone", VARIANTS)
def test_all_batch_normalisation_is_folded(backbone):
    with torch.device("meta"):
        network = folded(create_model(backbone, 5, output_stride=2).eval())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(("device", "precision", "uses_winograd"), [("cpu", "fp32", True), ("cpu", "bf16", False)])
def test_only_float32_on_a_cpu_uses_winograd(device, precision, uses_winograd):
    network = for_prediction(create_model("dla34", 5, output_stride=8).eval(), torch.device(device), precision)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert any(isinstance(module, Winograd) for module in network.modules()) == uses_winograd


def test_a_network_in_training_is_not_folded():
    with pytest.raises(AssertionError, match="eval"):
        folded(create_model("dla46_c", 5))
