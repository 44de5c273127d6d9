import math

import numpy as np
import pytest
import torch

from segdla.training.teacher.likeness import decorrelation, divergence


def pixels(*values):
    """A map (1,C,1,W) of W pixels, each a tuple of C values."""
    return torch.tensor(values, dtype=torch.float64).T[None, :, None]


# At temperature 2 the teacher's probabilities are 3/4 and 1/4, and the student's 1/2 and 1/2; the other pixel is alike.
BY_HAND = 2**2 * (3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)) / 2


def test_the_divergence_of_two_pixels_by_hand():
    student, teacher = pixels((0, 0), (5, 1)), pixels((2 * math.log(3), 0), (5, 1))
    assert divergence(student, teacher, temperature=2.0).item() == pytest.approx(BY_HAND, rel=1e-12)


def test_under_sigmoid_each_logit_is_a_class_against_its_absence():
    student, teacher = pixels((0,), (4,)), pixels((2 * math.log(3),), (4,))
    assert divergence(student, teacher, 2.0, sigmoid=True).item() == pytest.approx(BY_HAND, rel=1e-12)
    both = (torch.cat([one, torch.ones_like(one)], dim=1) for one in (student, teacher))  # the second class is alike
    assert divergence(*both, 2.0, sigmoid=True).item() == pytest.approx(BY_HAND / 2, rel=1e-12)


def test_decorrelation_is_numpy_s_correlation_of_each_channel_over_the_batch():
    ours, theirs = torch.randn(2, 2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    correlations = [np.corrcoef(ours[:, c].ravel(), theirs[:, c].ravel())[0, 1] for c in range(3)]
    assert decorrelation(ours, theirs).item() == pytest.approx(1 - np.mean(correlations), rel=1e-9)


def test_a_map_s_size_and_offset_are_not_compared():
    ours = pixels((0, 1), (1, 3), (3, 2))
    assert decorrelation(ours, 5 * ours - 7).item() == pytest.approx(0, abs=1e-9)
    assert decorrelation(ours, -ours).item() == pytest.approx(2, abs=1e-9)


def test_a_channel_without_variance_resembles_nothing_and_pulls_nowhere():
    ours = pixels((1.0,), (1.0,)).requires_grad_()
    loss = decorrelation(ours, pixels((2.0,), (5.0,)))
    loss.backward()
    assert loss.item() == 1
    assert ours.grad.isfinite().all()
