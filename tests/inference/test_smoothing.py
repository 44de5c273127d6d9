"""Temporal smoothing of a video's scores."""

import numpy as np
import pytest
import torch
from support import photo
from torch.testing import assert_close

from segdla.config import EvalConfig
from segdla.inference.from_config import Predictor
from segdla.inference.head import SOFTMAX, Overlapping, Sigmoid
from segdla.inference.smoothing import smooth


def frame_of(image):
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]


def constant(first, shape):
    """Probabilities of two classes, the same everywhere."""
    return torch.tensor([first, 1 - first]).view(1, 2, 1, 1).expand(1, 2, *shape)


def in_turn(*maps):
    """A predictor that ignores its images and gives these maps, one after the other."""
    left = iter(maps)
    return smooth(lambda images: next(left).clone())


def test_a_still_scene_by_hand():
    shape = (48, 64)
    smoothed = in_turn(*(constant(p, shape) for p in (1.0, 0.0, 0.0)))
    frame = frame_of(photo(*shape))
    for expected in (1.0, 0.6, 0.36):
        assert_close(smoothed(frame), constant(expected, shape))


def test_scores_move_with_the_picture():
    wide, rng = photo(96, 140), np.random.default_rng(0)
    scores = torch.from_numpy(rng.random((1, 2, 96, 140), np.float32))
    new = constant(0.25, (96, 128))
    smoothed = in_turn(scores[..., 6:134], new)
    smoothed(frame_of(wide[:, 6:134]))
    average = smoothed(frame_of(wide[:, 2:130]))  # the camera turned: all moved 4 pixels to the right
    expected = 0.6 * scores[..., 2:130] + 0.4 * new
    error = (average - expected)[..., 8:-8, 12:-8].abs()
    assert error.mean() < 0.03  # the flow is right to a tenth of a pixel, and scores here are noise


def test_a_place_that_was_hidden_begins_anew():
    shape, before = (96, 128), photo(96, 128)
    now = before.copy()
    now[30:60, 40:90] = 255 - now[30:60, 40:90]
    smoothed = in_turn(constant(1.0, shape), constant(0.0, shape))
    smoothed(frame_of(before))
    average = smoothed(frame_of(now))[0, 0]
    assert (average[35:55, 45:85] == 0).float().mean() > 0.9
    assert_close(average[:20], torch.full((20, 128), 0.6))


def test_a_cut_begins_anew():
    shape = (96, 128)
    smoothed = in_turn(constant(1.0, shape), constant(0.25, shape))
    smoothed(frame_of(photo(*shape, seed=1)))
    assert_close(smoothed(frame_of(photo(*shape, seed=2))), constant(0.25, shape))


def test_another_size_begins_anew():
    smoothed = in_turn(constant(1.0, (48, 64)), constant(0.25, (64, 48)))
    smoothed(frame_of(photo(48, 64)))
    assert_close(smoothed(frame_of(photo(64, 48))), constant(0.25, (64, 48)))


@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (40, 3), (9, 300), (31, 31)])
def test_frames_of_any_size(shape):
    """Below 32 pixels a side, OpenCV's flow would end the process."""
    smoothed = in_turn(constant(1.0, shape), constant(0.0, shape))
    frame = frame_of(photo(40, 300)[: shape[0], : shape[1]])
    smoothed(frame)
    assert_close(smoothed(frame), constant(0.6, shape))


@pytest.mark.parametrize(("head", "channels"), [(SOFTMAX, 3), (Sigmoid(0.3), 1), (Overlapping((0.3, 0.6, 0.5)), 3)])
def test_each_head_decides_as_without(head, channels):
    """Of one frame, and of a scene that stands still."""

    def logits_of(images):
        no_ties = torch.tensor([1, 1.013, 1.029]).view(3, 1, 1)
        return ((images * no_ties)[:, :channels] - 128.4) / 32  # stride 1

    predictor = Predictor(logits_of, 1, EvalConfig(), head=head)
    images, smoothed = frame_of(photo(48, 64)), predictor.smoothed()
    for _ in range(3):
        assert_close(smoothed(images), predictor.class_ids(images))


def test_each_video_has_a_memory_of_its_own():
    predictor = Predictor(lambda images: images.float() / 32, 1, EvalConfig())
    one, other = predictor.smoothed(), predictor.smoothed()
    dark, bright = photo(48, 64) // 2, photo(48, 64) // 2 + np.array([0, 6, 3], np.uint8)
    one(frame_of(dark))
    assert not torch.equal(one(frame_of(bright)), predictor.class_ids(frame_of(bright)))
    assert_close(other(frame_of(bright)), predictor.class_ids(frame_of(bright)))
