import weakref

import pytest
import torch
import torch.nn.functional as F

from segdla.inference import predictors
from segdla.inference.predictors import flip, in_precision, maps_of, multiscale, segment, sliding_window
from segdla.inference.scores import Summed, classify, grain
from segdla.models.dla import VARIANTS
from segdla.models.segmenter import DLASeg


def toy_scores(images):
    """Two scores: the red channel, and a hundred less it."""
    red = images[:, :1].float()
    return torch.cat([red, 100 - red], dim=1)


toy = maps_of(toy_scores, 1)


def scores(maps, images):
    """The sum (B,C,H,W) of all maps."""
    total = Summed(classify)
    for scored in maps(images):
        total.add(scored)
    return total.total


def watching(seen, look):
    """The toy, which notes what ``look`` sees in its images."""

    def model(images):
        seen.append(look(images))
        return toy_scores(images)

    return maps_of(model, 1)


def ramp(height=12, width=20):
    red = torch.arange(float(width)).expand(1, 1, height, width)
    return red.repeat(1, 3, 1, 1)


def test_flip_by_hand():
    # Scores that depend on the place: the column's number. Mirrored, added and mirrored back: 0+2, 1+1, 2+0.
    def column(images):
        return torch.arange(3.0).expand(1, 1, 1, 3).clone()

    assert scores(flip(maps_of(column, 1)), torch.zeros(1, 3, 1, 3)).tolist() == [[[[2.0, 2.0, 2.0]]]]


def test_flip_doubles_scores_that_follow_the_image():
    torch.testing.assert_close(scores(flip(toy), ramp(height=150)), 2 * toy_scores(ramp(height=150)))


def test_scale_one_alone_is_plain():
    images = torch.randint(0, 256, (2, 3, 13, 17), dtype=torch.uint8)
    assert torch.equal(scores(multiscale(toy, (1.0,)), images), toy_scores(images))


def test_scales_are_summed():
    flat = torch.full((1, 3, 10, 14), 40.0)
    torch.testing.assert_close(scores(multiscale(toy, (0.5, 1.0, 1.5)), flat), 3 * toy_scores(flat))


def test_each_scale_sees_its_size():
    seen = []
    maps = multiscale(watching(seen, lambda images: tuple(images.shape[-2:])), (0.5, 0.75, 1.0, 1.25, 1.5))
    assert scores(maps, ramp(16, 24)).shape == (1, 2, 16, 24)
    assert seen == [(24, 36), (20, 30), (16, 24), (12, 18), (8, 12)]


def test_one_map_beside_the_sum():
    alive = []

    def model(images):
        assert all(scored() is None for scored in alive)
        logits = toy_scores(images)
        alive.append(weakref.ref(logits))
        return logits

    for maps in (multiscale(maps_of(model, 1), (1.0, 1.0, 1.0)), sliding_window(maps_of(model, 1), (4, 4))):
        segment(maps, ramp())


def test_resized_images_stay_in_range():
    edges = torch.zeros(1, 3, 8, 8)
    edges[..., ::2] = 255
    seen = []
    scores(multiscale(watching(seen, lambda images: (images.float().min(), images.float().max())), (0.75, 1.5)), edges)
    # A byte that overshot would come round at the other end: what is darkest is near 0, what is lightest near 255.
    assert len(seen) == 2
    resized = predictors._resize_images(edges, 1.5)[0, 0, 0]
    expected = F.interpolate(edges, size=(12, 12), mode="bicubic", align_corners=False, antialias=True)[0, 0, 0]
    torch.testing.assert_close(resized.float(), expected.clamp(0, 255).round())


@pytest.mark.parametrize("window", [(12, 20), (12, 50), (99, 99)])
def test_window_of_at_least_the_image_is_the_whole(window):
    assert torch.equal(scores(sliding_window(toy, window), ramp()), toy_scores(ramp()))


@pytest.mark.parametrize("window", [(5, 7), (12, 6), (1, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
def test_windows_average_to_the_whole(window, overlap):
    torch.testing.assert_close(scores(sliding_window(toy, window, overlap), ramp()), toy_scores(ramp()))


def test_windows_are_never_smaller_and_cover_all():
    seen = []
    maps = watching(seen, lambda images: images[0, 0, 0, [0, -1]].tolist())
    scores(sliding_window(maps, (12, 8), overlap=0.25), ramp())  # columns 0..19
    assert seen == [[0, 7], [6, 13], [12, 19]]


def test_parts_compose():
    images = torch.full((1, 3, 9, 11), 60.0)
    maps = sliding_window(multiscale(flip(toy), (0.5, 1.0)), (4, 4))
    torch.testing.assert_close(scores(maps, images), 4 * toy_scores(images))


# Against the obvious way, at full size: what the network gives for each scale, resized and added up.


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = DLASeg(VARIANTS["dla46_c"](), 5, 4)
    torch.nn.init.normal_(network.classifier.weight)
    return network.eval()


SIZES = [(96, 160), (71, 107)]  # with and without room for the network's stride


def at_full_size(network, images, scales, mirrored, normalise):
    total = 0
    for scale in scales:
        resized = predictors._resize_images(images, scale)
        for mirror in (False, True) if mirrored else (False,):
            probs = normalise(network(resized.flip(-1) if mirror else resized))
            probs = probs.flip(-1) if mirror else probs
            total = total + F.interpolate(probs, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return total


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("merge", ["logits", "probs"])
@torch.no_grad()
def test_equal_to_full_size(network, size, mirrored, merge):
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    maps = maps_of(network.logits, 4, merge)
    total = scores(multiscale(flip(maps) if mirrored else maps, (0.5, 0.75, 1.0, 1.5)), images)
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
    """Logits of five classes at stride 4, none of which wins everywhere."""
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
    kept, summed = [], []
    monkeypatch.setattr(predictors, "Kept", noting(predictors.Kept, lambda sums: len(sums.maps), kept))
    monkeypatch.setattr(predictors, "Summed", noting(predictors.Summed, lambda sums: sums.total.shape[2], summed))
    maps = sliding_window(toy, (64, 64))
    images = torch.zeros(1, 3, 1000, 100, dtype=torch.uint8)
    for low_memory in (False, True):
        assert segment(maps, images, low_memory).shape == (1, 1000, 100)
    assert max(kept) <= 3 * 2  # of two windows in a row, the three rows of windows that may touch a strip
    assert max(summed) <= 64 + 2 * grain(torch.device("cpu"))[0]


def noting(kind, look, seen):
    class Noting(kind):
        def add(self, scored):
            super().add(scored)
            seen.append(look(self))

    return Noting


def test_classify_is_argmax():
    values = torch.randn(2, 7, 150, 6).to(memory_format=torch.channels_last)
    assert torch.equal(classify(values).long(), values.argmax(1))
    assert classify(values).dtype == torch.uint8


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gives_float32_logits(precision):
    model = torch.nn.Conv2d(3, 2, 1)
    images = torch.rand(1, 3, 4, 4)
    logits = in_precision(model, torch.device("cpu"), precision)(images)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, model(images))
