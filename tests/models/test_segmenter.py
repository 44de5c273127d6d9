import copy

import pytest
import torch
from torch import nn

from segdla.models.dla import VARIANTS
from segdla.models.segmenter import DLASeg, padded


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return DLASeg(VARIANTS["dla46_c"](), num_classes=5, output_stride=4).eval()


def random_images(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (31, 33), (32, 64), (67, 123)])
@pytest.mark.parametrize("batch", [1, 2])
def test_logits_have_the_images_size(model, size, batch):
    with torch.inference_mode():
        assert model(random_images(batch, 3, *size)).shape == (batch, 5, *size)


@pytest.mark.parametrize("output_stride", [2, 4, 8])
def test_output_strides(output_stride):
    model = DLASeg(VARIANTS["dla46_c"](), 3, output_stride).eval()
    assert model.decoder.out_channels == model.backbone.channels[model.backbone.strides.index(output_stride)]
    with torch.inference_mode():
        assert model(random_images(1, 3, 40, 70)).shape == (1, 3, 40, 70)


def test_parameters_of_the_papers_network():
    with torch.device("meta"):
        model = DLASeg(VARIANTS["dla34"](), num_classes=19, output_stride=2)
    assert sum(p.numel() for p in model.parameters()) == 17_540_131  # the authors' code, what it uses


def test_bytes_and_floats_are_the_same_image(model):
    images = random_images(1, 3, 40, 40)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), model(images.float()), rtol=0, atol=0)


def test_normalisation_is_inside(model):
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    seen = []
    handle = model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.inference_mode():
        model(white)
    handle.remove()
    # (1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.tensor([2.2489, 2.4286, 2.64]), rtol=0, atol=1e-4)


def test_padding_reflects_the_image(model):
    seen = []
    handle = model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.inference_mode():
        model(random_images(1, 3, 33, 20))
    handle.remove()
    images = seen[0]
    assert images.shape == (1, 3, 64, 32)
    assert (images[..., 33:, :] == images[..., 1:32, :].flip(-2)).all()
    assert (images[..., :, 20:] == images[..., :, 7:19].flip(-1)).all()


def test_what_is_too_small_to_be_reflected_ends_in_its_first_pixel():
    row = padded(torch.arange(3)[None, None, None], 4)[0, 0, 0]
    assert row.tolist() == [0, 1, 2, 1]
    row = padded(torch.arange(3)[None, None, None], 8)[0, 0, 0]
    assert row.tolist() == [0, 1, 2, 1, 0, 0, 0, 0]


def test_a_batch_is_its_images(model):
    exact = copy.deepcopy(model).double()
    images = random_images(3, 3, 48, 64)
    with torch.inference_mode():
        torch.testing.assert_close(exact(images), torch.cat([exact(image[None]) for image in images]))


def test_any_backbone_with_channels_and_strides():
    class Pyramid(nn.Module):
        channels, strides = (4, 8), (4, 8)

        def __init__(self):
            super().__init__()
            self.down = nn.ModuleList([nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 8, 2, 2)])

        def forward(self, x):
            first = self.down[0](x)
            return [first, self.down[1](first)]

    model = DLASeg(Pyramid(), num_classes=2, output_stride=4).eval()
    assert model(random_images(1, 3, 13, 21)).shape == (1, 2, 13, 21)


def test_training_on_one_batch_lowers_the_loss():
    torch.manual_seed(0)
    model = DLASeg(VARIANTS["dla34"](), num_classes=4, output_stride=4)
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
