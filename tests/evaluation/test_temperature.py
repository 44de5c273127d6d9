import numpy as np
import pytest
import torch

from segdla.evaluation.evaluator import Prediction
from segdla.evaluation.temperature import TemperatureFit


def calibrated(seed=0):
    """Logits (4,5,40,50), and targets (4,40,50) that are drawn from their own probabilities."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(4, 5, 40, 50, generator=generator)
    drawn = torch.multinomial(logits.softmax(1).movedim(1, -1).reshape(-1, 5), 1, generator=generator)
    return logits, drawn.view(4, 40, 50).to(torch.uint8)


def fitted(logits, targets, fit=None):
    fit = TemperatureFit(len(logits)) if fit is None else fit
    probabilities = logits.softmax(1)
    fit.update(torch.zeros(0), targets, Prediction(probabilities.argmax(1), probabilities))
    fit.reduce()
    return fit.result()


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_logits_scaled_by_a_known_temperature_give_it_back(temperature):
    logits, targets = calibrated()
    plain = fitted(logits, targets)["temperature"]
    assert plain == pytest.approx(1, abs=0.05)  # by how much 8000 draws scatter
    result = fitted(temperature * logits, targets)
    assert result["temperature"] == pytest.approx(temperature * plain, rel=2e-3)
    assert result["nll"] == pytest.approx(fitted(logits, targets)["nll"], abs=1e-5)
    assert result["nll"] <= result["nll_before"] + 1e-9


def test_it_is_where_the_likelihood_s_slope_is_zero():
    logits, targets = calibrated(1)
    result = fitted(3 * logits, targets)
    log_t = torch.tensor(np.log(result["temperature"]), requires_grad=True)
    torch.nn.functional.cross_entropy(3 * logits.double() / log_t.exp(), targets.long()).backward()
    assert abs(log_t.grad) < 1e-3


def test_ignored_pixels_do_not_count_and_a_sample_is_bounded():
    logits, targets = calibrated()
    spoiled = logits.clone()
    targets[:, :20] = 255
    spoiled[:, :, :20] *= 50
    assert fitted(spoiled, targets) == fitted(logits, targets)
    few = TemperatureFit(len(logits))
    few.quota = 100
    sampled = fitted(logits, targets, few)
    assert sum(len(labels) for _, labels in few.samples) <= 400
    assert sampled["temperature"] == pytest.approx(1, abs=0.3)
    assert np.isnan(fitted(logits, torch.full_like(targets, 255))["temperature"])
