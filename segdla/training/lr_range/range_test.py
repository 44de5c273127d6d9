"""The learning-rate range test: the loss while the learning rate rises from step to step, and a rate to train with.

Leslie N. Smith: Cyclical learning rates for training neural networks, WACV 2017, section 3.3.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from segdla.data.loader import Batch
from segdla.machine import distributed
from segdla.training.state import Plan, Training
from segdla.training.step import Gradients, seed_step, take_step
from segdla.training.stop import StopSignal, until_stopped

NUM_STEPS = 100
LOWEST, HIGHEST = 1e-6, 10.0
_SMOOTHING = 0.9  # of the moving average over losses
_SETTLED = 10  # steps after which the average says something
_DIVERGED = 2.0  # times the loss at the start
_LEAST_FALL = 0.02  # of the loss at the start: less is noise
# Of the fall, done at the proposed rate. Searches had found 0.008 for the first quickstart.yaml and 0.004 for CamVid's
# compact network on processors; this gives 0.0091 and 0.0056, the steepest point 0.00067 for the former.
_FALLEN = 0.8


@dataclass(frozen=True)
class RangeTest:
    """Learning rates, and the loss of a step at each of them; the last one may be that at which training diverged."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def smoothed(self) -> tuple[float, ...]:
        """The losses as a moving average, which starts without a bias."""
        average, means = 0.0, []
        for step, loss in enumerate(self.losses, start=1):
            average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
            means.append(average / (1 - _SMOOTHING**step))
        return tuple(means)

    @property
    def proposal(self) -> float | None:
        """The rate, to two digits, by which the moving average has fallen by four fifths of its whole fall.

        None if it falls nowhere.
        """
        means = np.array(self.smoothed)[_SETTLED:]
        if not len(means) or means.min() > (1 - _LEAST_FALL) * means[0]:
            return None
        enough = means <= means[0] - _FALLEN * (means[0] - means.min())
        return float(f"{self.rates[_SETTLED + int(np.argmax(enough))]:.1e}")


def rates() -> tuple[float, ...]:
    """Return the learning rates of the test, each the same multiple of the one before."""
    return tuple(float(rate) for rate in np.geomspace(LOWEST, HIGHEST, NUM_STEPS))


def range_test(training: Training, gradients: Gradients, batches: Iterable[Batch], plan: Plan) -> RangeTest | None:
    """Train at rising learning rates until they end or the loss is lost; None if a signal came.

    Backbone and decoder keep their factors. There is neither schedule nor warm-up.
    """
    base, rising, losses = training.optimizer.defaults["lr"], rates(), list[float]()
    training.schedule = lambda step: rising[step] / base
    steps = zip(*[iter(batches)] * plan.accumulate, strict=True)
    training.model.train()
    with StopSignal() as stop:
        for parts in until_stopped(islice(steps, NUM_STEPS), stop):
            seed_step(training, plan)
            training.set_lr()
            loss, _ = take_step(training, gradients, parts, plan)
            training.step += 1
            value = float(distributed.total(loss)) / distributed.world_size()
            if not math.isfinite(value):
                break
            losses.append(value)
            if value > _DIVERGED * losses[0] and training.step > _SETTLED:
                break
        if stop.error is not None:
            raise stop.error
        if stop.agreed():
            return None
    return RangeTest(rising[: len(losses)], tuple(losses))
