import weakref

import pytest
import torch
import torch.nn.functional as F

from segdla.inference import predictors
from segdla.inference.predictors import flip, maps_of, multiscale, segment, sliding_window
from segdla.inference.score_maps import RunningSum, classify, grain
from segdla.machine.device import in_precision
from segdla.models.from_config import create_model


def toy_logits(images):
    """Logits of two classes: the red channel, and a hundred less it."""
    red = images[:, :1].float()
    return torch.cat([red, 100 - red], dim=1)


toy = maps_of(toy_logits, 1)


def summed(maps, images):
    """The sum (B,C,H,W) of all maps."""
    total = RunningSum(classify)
    for score_map in maps(images):
        total.add(score_map)
    return total.total


def noting_images(notes, look):
    """The toy, which appends ``look(images)`` to the notes."""

    def model(images):
        notes.append(look(images))
        return toy_logits(images)

    return maps_of(model, 1)


def ramp(height=12, width=20):
    red = torch.arange(float(width)).expand(1, 1, height, width)
    return red.repeat(1, 3, 1, 1)


def test_flip_by_hand():
    # Logits that depend on the place: the column's number. Mirrored, added and mirrored back: 0+2, 1+1, 2+0.
    def column(images):
        return torch.arange(3.0).expand(1, 1, 1, 3).clone()

    assert summed(flip(maps_of(column, 1)), torch.zeros(1, 3, 1, 3)).tolist() == [[[[2.0, 2.0, 2.0]]]]


def test_flip_doubles_logits_that_follow_the_image():
    torch.testing.assert_close(summed(flip(toy), ramp(height=150)), 2 * toy_logits(ramp(height=150)))


def test_scale_one_alone_is_plain():
    images = torch.randint(0, 256, (2, 3, 13, 17), dtype=torch.uint8)
    assert torch.equal(summed(multiscale(toy, (1.0,)), images), toy_logits(images))


def test_scales_are_summed():
    flat = torch.full((1, 3, 10, 14), 40.0)
    torch.testing.assert_close(summed(multiscale(toy, (0.5, 1.0, 1.5)), flat), 3 * toy_logits(flat))


def test_each_scale_sees_its_size():
    sizes = []
    maps = multiscale(noting_images(sizes, lambda images: tuple(images.shape[-2:])), (0.5, 0.75, 1.0, 1.25, 1.5))
    assert summed(maps, ramp(16, 24)).shape == (1, 2, 16, 24)
    assert sizes == [(24, 36), (20, 30), (16, 24), (12, 18), (8, 12)]


def test_one_map_beside_the_sum():
    alive = []

    def model(images):
        assert all(reference() is None for reference in alive)
        logits = toy_logits(images)
        alive.append(weakref.ref(logits))
        return logits

    for maps in (multiscale(maps_of(model, 1), (1.0, 1.0, 1.0)), sliding_window(maps_of(model, 1), (4, 4))):
        segment(maps, ramp())


def test_resized_images_stay_in_range():
    edges = torch.zeros(1, 3, 8, 8)
    edges[..., ::2] = 255
    images = []
    summed(multiscale(noting_images(images, lambda resized: resized), (0.75, 1.5)), edges)
    assert [image.dtype for image in images] == [torch.uint8, torch.uint8]
    # A byte that overshot would come round at the other end.
    resized = predictors._resize_images(edges, 1.5)[0, 0, 0]
    expected = F.interpolate(edges, size=(12, 12), mode="bicubic", align_corners=False, antialias=True)[0, 0, 0]
    torch.testing.assert_close(resized.float(), expected.clamp(0, 255).round())


@pytest.mark.parametrize("window", [(12, 20), (12, 50), (99, 99)])
def test_window_of_at_least_the_image_is_the_whole(window):
    assert torch.equal(summed(sliding_window(toy, window), ramp()), toy_logits(ramp()))


@pytest.mark.parametrize("window", [(5, 7), (12, 6), (1, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
def test_windows_average_to_the_whole(window, overlap):
    torch.testing.assert_close(summed(sliding_window(toy, window, overlap), ramp()), toy_logits(ramp()))


def test_windows_are_never_smaller_and_cover_all():
    columns = []
    maps = noting_images(columns, lambda images: images[0, 0, 0, [0, -1]].tolist())
    summed(sliding_window(maps, (12, 8), overlap=0.25), ramp())  # columns 0..19
    assert columns == [[0, 7], [6, 13], [12, 19]]


def test_parts_compose():
    images = torch.full((1, 3, 9, 11), 60.0)
    maps = sliding_window(multiscale(flip(toy), (0.5, 1.0)), (4, 4))
    torch.testing.assert_close(summed(maps, images), 4 * toy_logits(images))


# Against the obvious way, at full size: the network's output at each scale, resized and added up.


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = create_model("dla46_c", 5, output_stride=4)
    torch.nn.init.normal_(network.classifier.weight)
    return network.eval()


SIZES = [(96, 160), (71, 107)]  # with and without room for the network's stride


def at_full_size(network, images, scales, mirrored, normalise):
    total = 0
    for scale in scales:
        resized = predictors._resize_images(images, scale)
        for mirror in (False, True) if mirrored else (False,):
            values = normalise(network(resized.flip(-1) if mirror else resized))
            values = values.flip(-1) if mirror else values
            total = total + F.interpolate(values, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return total


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("merge", ["logits", "probs"])
@torch.no_grad()
def test_equal_to_full_size(network, size, mirrored, merge):
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    maps = maps_of(network.logits, 4, merge)
    total = summed(multiscale(flip(maps) if mirrored else maps, (0.5, 0.75, 1.0, 1.5)), images)
    normalise = (lambda logits: logits.softmax(1)) if merge == "probs" else (lambda logits: logits)
    expected = at_full_size(network, images, (1.5, 1.0, 0.75, 0.5), mirrored, normalise)
    torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_sums_of_log_probabilities_and_of_logits_decide_alike(network):
    images = torch.randint(0, 256, (1, 3, 71, 107), dtype=torch.uint8)
    log_probs = at_full_size(network, images, (1.5, 0.75), True, lambda logits: logits.log_softmax(1))
    ids = segment(multiscale(flip(maps_of(network.logits, 4, "logprobs")), (0.75, 1.5)), images)
    chosen = log_probs.gather(1, ids[:, None].long())[:, 0]
    torch.testing.assert_close(chosen, log_probs.max(1).values, rtol=0, atol=1e-4)


def noisy(images):
    """Logits at stride 4 of five classes, none of which wins everywhere."""
    random = torch.Generator().manual_seed(0)
    weights = torch.randn(5, 3, 4, 4, generator=random)
    padded = F.pad(images.float() - 127, (0, -images.shape[-1] % 4, 0, -images.shape[-2] % 4), mode="replicate")
    return F.conv2d(padded, weights / 100, stride=4)


@pytest.mark.parametrize("size", [*SIZES, (200, 90)])
@pytest.mark.parametrize("merge", ["logprobs", "probs"])
@pytest.mark.parametrize("window", [None, (64, 64), (70, 48)])
@torch.no_grad()
def test_low_memory_gives_the_same_pixel_for_pixel(size, merge, window):
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    maps = multiscale(flip(maps_of(noisy, 4, merge)), (0.5, 1.0, 1.25))
    maps = sliding_window(maps, window) if window else maps
    ids = segment(maps, images)
    assert torch.equal(segment(maps, images, low_memory=True), ids)
    assert len(ids.unique()) == 5  # or anything would be equal


@torch.no_grad()
def test_memory_does_not_grow_with_the_height(monkeypatch):
    maps_alive, rows_alive = [], []
    map_list = noting_sizes(predictors.MapList, lambda sums: len(sums.maps), maps_alive)
    running_sum = noting_sizes(predictors.RunningSum, lambda sums: sums.total.shape[2], rows_alive)
    monkeypatch.setattr(predictors, "MapList", map_list)
    monkeypatch.setattr(predictors, "RunningSum", running_sum)
    maps = sliding_window(toy, (64, 64))
    images = torch.zeros(1, 3, 1000, 100, dtype=torch.uint8)
    for low_memory in (False, True):
        assert segment(maps, images, low_memory).shape == (1, 1000, 100)
    assert max(maps_alive) <= 3 * 2  # three rows of windows may touch a strip, with two windows in each
    assert max(rows_alive) <= 64 + 2 * grain(torch.device("cpu"))[0]


def noting_sizes(kind, look, notes):
    """A subclass of ``kind`` that appends ``look(self)`` to the notes whenever a map was added."""

    class Noting(kind):
        def add(self, score_map):
            super().add(score_map)
            notes.append(look(self))

    return Noting


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gives_float32_logits(precision):
    model = torch.nn.Conv2d(3, 2, 1)
    images = torch.rand(1, 3, 4, 4)
    logits = in_precision(model, torch.device("cpu"), precision)(images)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, model(images))
