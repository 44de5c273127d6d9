"""A rehearsal: the first steps of a run, an evaluation and a saving, timed and then undone."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import replace
from itertools import islice

import torch

from segdla.data.loader import Batch
from segdla.machine import distributed
from segdla.machine.speed import wait_for
from segdla.machine.terminal import in_silence, say
from segdla.training.budget.time_budget import Times, fit
from segdla.training.log import RunLog
from segdla.training.loop import Images, Validation, train_steps, validate
from segdla.training.state import Plan, Training, write_state
from segdla.training.step import Gradients
from segdla.training.stop import StopSignal

IMAGES = 8  # of each process, that an evaluation is rehearsed on
_FOLDER = ".rehearsal"  # in the run's
_WARM_UP = 3  # steps: the first ones prepare kernels, and wait for the loader to start
_SHARE, _SHORTEST, _LONGEST = 0.04, 2.0, 60.0  # of the run's time, and seconds, that timing steps takes


class _Timed:
    """Whole images that note when their batches come and go; ``after`` waits for the device."""

    def __init__(self, images: Images, device: torch.device):
        self.images, self.device = images, device
        self.num_images = images.num_images
        self.times: list[float] = []

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.images:
            self.times = self.times or [time.monotonic()]
            yield batch
            wait_for(self.device)
            self.times.append(time.monotonic())

    def seconds(self) -> float:
        """Return the mean time of a batch, if there are several but the first, which prepares kernels; 0 of none."""
        times = self.times[1:] if len(self.times) > 2 else self.times
        return (times[-1] - times[0]) / (len(times) - 1) if times else 0.0


@contextmanager
def unchanged(training: Training) -> Iterator[None]:
    """Leave the training as it was, whatever steps are taken within."""
    averaged = None if training.ema is None else training.ema.state_dict()
    states = deepcopy((training.model.state_dict(), training.optimizer.state_dict(), averaged))
    scaler = training.scaler.state_dict()
    counts = training.step, training.evaluated, training.best, training.waited, training.skipped
    try:
        yield
    finally:
        model, optimizer, average = states
        training.model.load_state_dict(model)
        training.optimizer.load_state_dict(optimizer)
        if training.ema is not None and average is not None:
            training.ema.load_state_dict(average)
        if training.scaler.is_enabled():
            training.scaler.load_state_dict(scaler)
        training.step, training.evaluated, training.best, training.waited, training.skipped = counts


def steps_that_fit(
    training: Training,
    gradients: Gradients,
    batches: Iterator[Batch],
    validation: Validation,
    num_validated: int,
    plan: Plan,
    minutes: float,
    began: float,
    keep: Callable[[int], None],
) -> int | None:
    """Rehearse, and return how many steps a run has that ``began`` then and takes some minutes; None if a signal came.

    The number is said, and ``keep`` gets it, in the main process. ``rehearse`` explains the other arguments. Raises
    UserError if not even one step fits.
    """
    if distributed.is_main():
        say(f"rehearsing, to see how many steps fit into {minutes:g} min (train.minutes)")
    left = 60 * minutes - (time.monotonic() - began)
    times = rehearse(training, gradients, batches, validation, num_validated, plan, left)
    if times is None:
        return None

    def fix() -> tuple[int, str]:
        spent, steps_between = time.monotonic() - began, plan.eval_every * plan.steps_per_epoch
        num_steps, line = fit(times, minutes, spent, steps_between, plan.save_every)
        keep(num_steps)
        return num_steps, line

    num_steps, line = distributed.on_main(fix)
    if distributed.is_main():
        say(line)
    return num_steps


def rehearse(
    training: Training,
    gradients: Gradients,
    batches: Iterator[Batch],
    validation: Validation,
    num_validated: int,
    plan: Plan,
    seconds: float,
) -> Times | None:
    """Time the parts of a run of about ``seconds``, and leave the training as it was; None if a signal came.

    ``validation`` holds a few images of the ``num_validated`` batches that this process validates on. Everything that
    costs time takes part: loader, reports, pictures, files; these are in a folder that is gone afterwards.
    """
    scratch = plan.run / _FOLDER
    plan = replace(plan, run=scratch)

    def prepare() -> None:
        shutil.rmtree(scratch, ignore_errors=True)  # of a rehearsal that was killed
        scratch.mkdir()

    distributed.on_main(prepare)
    try:
        with in_silence(), unchanged(training), closing(batches), StopSignal() as stop:  # type: ignore[type-var]
            log = _log(plan, training) if distributed.is_main() else None
            with log or nullcontext():
                step = _time_steps(training, gradients, batches, log, plan, stop, seconds)
                if stop.error is not None:
                    raise stop.error
                if stop.agreed():
                    return None
                evaluation = _time_evaluation(training, validation, num_validated, log, plan, stop)
                if stop.agreed():
                    return None
            started = time.monotonic()
            distributed.on_main(lambda: write_state(scratch, training.state_dict()))
            return Times(step, evaluation, time.monotonic() - started)
    finally:
        if distributed.is_main():
            shutil.rmtree(scratch, ignore_errors=True)


def _log(plan: Plan, training: Training) -> RunLog:
    return RunLog(plan.run, training.step, training.evaluated, plan.num_steps)


def _time_steps(
    training: Training,
    gradients: Gradients,
    batches: Iterable[Batch],
    log: RunLog | None,
    plan: Plan,
    stop: StopSignal,
    seconds: float,
) -> float:
    """Return the mean time of a step, after the first ones; all processes take equally many.

    As many steps as before are taken again and again, and the last ones count: the first half is slower.
    """
    steps = zip(*[iter(batches)] * plan.accumulate, strict=True)
    train_steps(training, gradients, islice(steps, _WARM_UP), log, plan, stop)
    first, started, more = training.step, time.monotonic(), 1
    limit = min(max(_SHARE * seconds, _SHORTEST), _LONGEST)
    while True:
        begun = time.monotonic()
        train_steps(training, gradients, islice(steps, more), log, plan, stop)
        now = time.monotonic()
        if distributed.highest(now - started >= limit) or stop.error or stop.agreed():
            return (now - begun) / more
        more = training.step - first


def _time_evaluation(
    training: Training, validation: Validation, num_validated: int, log: RunLog | None, plan: Plan, stop: StopSignal
) -> float:
    """Return the time of a whole evaluation, from one of a few images.

    Loader processes start with the first evaluation alone, so the time until the first batch is left out.
    """
    few = _Timed(validation.images, plan.device)
    validate(training, validation._replace(images=few), log, plan, stop, is_rehearsal=True)
    after = time.monotonic() - few.times[-1] if few.times else 0.0  # one of several processes may validate on nothing
    return few.seconds() * num_validated + after
