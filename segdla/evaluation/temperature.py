"""Temperature scaling (Guo et al., ICML 2017): the one number that makes a network as sure as it is right."""

from math import exp, log
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segdla.evaluation.evaluator import Prediction
from segdla.inference.score_maps import log_probabilities
from segdla.machine import distributed

_MOST_PIXELS = 1 << 20
"""Pixels that are kept, spread evenly over all images: with 19 classes 80 MB, and the fit is good to a thousandth."""
_FEWEST = 16  # pixels of an image, however many images there are
_RANGE = (1 / 64, 64.0)


class TemperatureFit:
    """The temperature by which logits are divided so that labels are likeliest; an ``Evaluator``.

    It is fitted on a sample of the labelled pixels of ``num_images`` images. Logarithms of probabilities do for logits,
    from which they differ by one number a pixel.
    """

    name = "temperature"
    needs_probabilities = True

    def __init__(self, num_images: int):
        self.quota = max(_FEWEST, _MOST_PIXELS // max(1, num_images))
        self.samples: list[tuple[np.ndarray, np.ndarray]] = []  # logarithms (n,C) float32, and labels (n)

    def update(self, images: Tensor, targets: Tensor, prediction: Prediction) -> None:
        """Keep pixels of a batch, evenly spaced; ignored ones are left out."""
        assert prediction.probabilities is not None, "a temperature needs probabilities"
        for target, shares in zip(targets.flatten(1), prediction.probabilities.flatten(2), strict=True):
            places = torch.nonzero(target < len(shares))[:, 0]
            chosen = places[:: max(1, -(-len(places) // self.quota))]
            logarithms = log_probabilities(shares[:, chosen]).T
            self.samples.append((logarithms.cpu().numpy(), target[chosen].cpu().numpy()))

    def reduce(self) -> None:
        """Gather the pixels of all processes."""
        self.samples = [sample for samples in distributed.gathered(self.samples) for sample in samples]

    def result(self) -> dict[str, Any]:
        """Return the temperature, and the mean negative log-likelihood of the labels with 1 and with it.

        NaN if no pixel is labelled.
        """
        from scipy.optimize import minimize_scalar

        if not sum(len(labels) for _, labels in self.samples):
            return dict.fromkeys(("temperature", "nll_before", "nll"), float("nan"))
        logarithms, labels = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*self.samples, strict=True))

        def loss(exponent: float) -> float:
            return torch.nn.functional.cross_entropy(logarithms / exp(exponent), labels.long()).item()

        fit = minimize_scalar(loss, bounds=[log(end) for end in _RANGE], method="bounded", options={"xatol": 1e-4})
        return {"temperature": exp(fit.x), "nll_before": loss(0.0), "nll": float(fit.fun)}
