import weakref

import pytest
import torch
import torch.nn.functional as F

from segdla.inference import MERGES, classify, flip, merged_by, multiscale, sliding_window


def toy(images):
    """Two scores: the red channel, and a hundred less it."""
    red = images[:, :1].float()
    return torch.cat([red, 100 - red], dim=1)


def ramp(height=12, width=20):
    red = torch.arange(float(width)).expand(1, 1, height, width)
    return red.repeat(1, 3, 1, 1)


def test_flip_by_hand():
    # Scores that depend on the place: the column's number. Mirrored, added and mirrored back: 0+2, 1+1, 2+0.
    def column(images):
        return torch.arange(3.0).expand(1, 1, 1, 3).clone()

    assert flip(column)(torch.zeros(1, 3, 1, 3)).tolist() == [[[[2.0, 2.0, 2.0]]]]


def test_flip_doubles_scores_that_follow_the_image():
    torch.testing.assert_close(flip(toy)(ramp(height=150)), 2 * toy(ramp(height=150)))


def test_scale_one_alone_is_plain():
    images = torch.randint(0, 256, (2, 3, 13, 17), dtype=torch.uint8)
    assert torch.equal(multiscale(toy, (1.0,))(images), toy(images))


def test_scales_are_summed():
    flat = torch.full((1, 3, 10, 14), 40.0)
    torch.testing.assert_close(multiscale(toy, (0.5, 1.0, 1.5))(flat), 3 * toy(flat))


def test_each_scale_sees_its_size():
    seen = []

    def watching(images):
        seen.append(tuple(images.shape[-2:]))
        return toy(images)

    assert multiscale(watching, (0.5, 0.75, 1.0, 1.25, 1.5))(ramp(16, 24)).shape == (1, 2, 16, 24)
    assert seen == [(8, 12), (12, 18), (16, 24), (20, 30), (24, 36)]


def test_one_map_beside_the_sum():
    alive = []

    def watching(images):
        assert sum(map_() is not None for map_ in alive) <= 1  # the sum
        scores = toy(images)
        alive.append(weakref.ref(scores))
        return scores

    multiscale(watching, (1.0, 1.0, 1.0, 1.0))(ramp())


def test_resized_images_stay_in_range():
    edges = torch.zeros(1, 3, 8, 8)
    edges[..., ::2] = 255
    lowest, highest = [], []

    def watching(images):
        lowest.append(images.min())
        highest.append(images.max())
        return toy(images)

    multiscale(watching, (0.75, 1.5))(edges)
    assert min(lowest) >= 0 and max(highest) <= 255


@pytest.mark.parametrize("window", [(12, 20), (12, 50), (99, 99)])
def test_window_of_at_least_the_image_is_the_whole(window):
    assert torch.equal(sliding_window(toy, window)(ramp()), toy(ramp()))


@pytest.mark.parametrize("window", [(5, 7), (12, 6), (1, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.9])
def test_windows_average_to_the_whole(window, overlap):
    torch.testing.assert_close(sliding_window(toy, window, overlap)(ramp()), toy(ramp()))


def test_windows_are_never_smaller_and_cover_all():
    seen = []

    def watching(images):
        seen.append(images[0, 0, 0, [0, -1]].tolist())
        return toy(images)

    sliding_window(watching, (12, 8), overlap=0.25)(ramp())  # columns 0..19
    assert seen == [[0, 7], [6, 13], [12, 19]]


def test_parts_compose():
    images = torch.full((1, 3, 9, 11), 60.0)
    predict = multiscale(flip(sliding_window(toy, (4, 4))), (0.5, 1.0))
    torch.testing.assert_close(predict(images), 4 * toy(images))


def test_merges():
    logits = torch.randn(2, 5, 3, 4)
    torch.testing.assert_close(merged_by("logprobs", lambda _: logits)(None), F.log_softmax(logits, 1))
    torch.testing.assert_close(merged_by("probs", lambda _: logits)(None).sum(1), torch.ones(2, 3, 4))
    assert torch.equal(merged_by("logits", lambda _: logits)(None), logits)
    assert set(MERGES) == {"logprobs", "probs", "logits"}


def test_classify_is_argmax():
    scores = torch.randn(2, 7, 5, 6).to(memory_format=torch.channels_last)
    assert torch.equal(classify(scores).long(), scores.argmax(1))
    assert classify(scores).dtype == torch.uint8
