import copy

import pytest
import torch
from torch import nn

from segdla.models.dlaseg import DLASeg, padded
from segdla.models.from_config import create_model
from segdla.models.ida import DLAUp


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("dla46_c", num_classes=5, output_stride=4).eval()


def random_images(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (31, 33), (32, 64), (67, 123)])
@pytest.mark.parametrize("batch", [1, 2])
def test_logits_have_the_images_size(model, size, batch):
    with torch.inference_mode():
        assert model(random_images(batch, 3, *size)).shape == (batch, 5, *size)


@pytest.mark.parametrize("output_stride", [2, 4, 8])
def test_output_strides(output_stride):
    model = create_model("dla46_c", 3, output_stride=output_stride).eval()
    assert model.decoder.out_channels == model.backbone.channels[model.backbone.strides.index(output_stride)]
    with torch.inference_mode():
        assert model(random_images(1, 3, 40, 70)).shape == (1, 3, 40, 70)


def test_parameters_of_the_papers_network():
    with torch.device("meta"):
        model = create_model("dla34", num_classes=19, output_stride=2)
    assert sum(p.numel() for p in model.parameters()) == 17_540_131  # those that the authors' code uses


def test_bytes_and_floats_are_the_same_image(model):
    images = random_images(1, 3, 40, 40)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), model(images.float()), rtol=0, atol=0)


def backbone_input(model, images):
    """The tensor that a model hands to its backbone."""
    inputs = []
    handle = model.backbone.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    with torch.inference_mode():
        model(images)
    handle.remove()
    return inputs[0]


def test_the_network_normalises(model):
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    # (1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225
    expected = torch.tensor([2.2489, 2.4286, 2.64])
    torch.testing.assert_close(backbone_input(model, white)[0, :, 0, 0], expected, rtol=0, atol=1e-4)


def test_padding_reflects_the_image(model):
    images = backbone_input(model, random_images(1, 3, 33, 20))
    assert images.shape == (1, 3, 64, 32)
    assert (images[..., 33:, :] == images[..., 1:32, :].flip(-2)).all()
    assert (images[..., :, 20:] == images[..., :, 7:19].flip(-1)).all()


def test_padding_of_tiny_images_goes_on_with_the_first_pixel():
    row = padded(torch.arange(3)[None, None, None], 4)[0, 0, 0]
    assert row.tolist() == [0, 1, 2, 1]
    row = padded(torch.arange(3)[None, None, None], 8)[0, 0, 0]
    assert row.tolist() == [0, 1, 2, 1, 0, 0, 0, 0]


def test_a_batch_is_its_images(model):
    exact = copy.deepcopy(model).double()
    images = random_images(3, 3, 48, 64)
    with torch.inference_mode():
        torch.testing.assert_close(exact(images), torch.cat([exact(image[None]) for image in images]))


class Pyramid(nn.Module):
    channels, strides = (4, 8), (4, 8)

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 8, 2, 2)])

    def forward(self, x):
        first = self.down[0](x)
        return [first, self.down[1](first)]


class SumNode(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, y):
        return self.conv(x + y).relu()


def own_network(num_classes=2):
    backbone = Pyramid()
    decoder = DLAUp(backbone.channels, backbone.strides, node=SumNode)
    return DLASeg(backbone, decoder, num_classes, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def test_own_backbone_and_node_take_any_size():
    assert own_network().eval()(random_images(1, 3, 13, 21)).shape == (1, 2, 13, 21)


def test_own_backbone_and_node_learn():
    model = own_network()
    assert isinstance(model.decoder.idas[0].nodes[0], SumNode)
    logits = model(random_images(2, 3, 64, 64))
    assert logits.shape == (2, 2, 64, 64)
    nn.functional.cross_entropy(logits, torch.randint(0, 2, (2, 64, 64))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_parts_that_do_not_fit_are_refused():
    backbone = Pyramid()
    decoder = DLAUp(backbone.channels, (2, 4), node=SumNode)
    with pytest.raises(AssertionError, match=r"output stride 2 of \(4, 8\)"):
        DLASeg(backbone, decoder, 2, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_training_on_one_batch_lowers_the_loss():
    torch.manual_seed(0)
    model = create_model("dla34", num_classes=4, output_stride=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    images, targets = random_images(2, 3, 64, 64), torch.randint(0, 4, (2, 8, 8)).repeat_interleave(8, 1)
    targets = targets.repeat_interleave(8, 2)
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
