"""The number of steps that fits into a time, with the evaluations and savings between them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from segdla.errors import UserError
from segdla.machine.terminal import clock, rough_duration
from segdla.training.state import Plan

UNKNOWN = 2**40
"""The number of steps of a run whose length is not known yet: more than there can be."""
WARM_UP_SHARE = 10  # of a run that is fitted into a time, at most one step in so many warms up


class Times(NamedTuple):
    """Seconds that the parts of a run take."""

    step: float
    evaluation: float  # of all validation images, with its pictures and the weights that it keeps
    saving: float  # of the state to resume from


def run_seconds(times: Times, num_steps: int, steps_between: int, save_every: int) -> float:
    """Return the seconds of a run; ``steps_between`` are the steps from an evaluation to the next."""
    evaluations = -(-num_steps // steps_between)
    savings = num_steps // save_every + 2 * evaluations  # before and after each evaluation
    return num_steps * times.step + evaluations * times.evaluation + savings * times.saving


def most_steps(times: Times, seconds: float, steps_between: int, save_every: int) -> int:
    """Return the largest number of steps whose run takes no more than some seconds; 0 if a single step takes more."""
    fewest, too_many = 0, int(max(seconds, 0) / times.step) + 1
    while fewest + 1 < too_many:
        middle = (fewest + too_many) // 2
        if run_seconds(times, middle, steps_between, save_every) <= seconds:
            fewest = middle
        else:
            too_many = middle
    return fewest


def fit(times: Times, minutes: float, spent: float, steps_between: int, save_every: int) -> tuple[int, str]:
    """Return the number of steps for what is left of some minutes, of which ``spent`` seconds are gone, and a line.

    Raises UserError if not even one step and its evaluation fit.
    """
    left = 60 * minutes - spent
    num_steps = most_steps(times, left, steps_between, save_every)
    if num_steps == 0:
        needed = (spent + run_seconds(times, 1, steps_between, save_every)) / 60
        raise UserError(
            f"train.minutes {minutes:g} is too short: {spent:.0f} s to set up, a step of {times.step:.2g} s and an "
            f"evaluation of {times.evaluation:.2g} s; raise it to {needed:.2g} at least, rather to {10 * needed:.2g}"
        )
    evaluations = -(-num_steps // steps_between)
    seconds = run_seconds(times, num_steps, steps_between, save_every)
    many = "evaluations" if evaluations > 1 else "evaluation"
    line = (
        f"{minutes:g} min (train.minutes) are {num_steps:,} steps of {times.step:.2g} s and {evaluations} {many} of "
        f"{rough_duration(times.evaluation)}, {rough_duration(spent)} having gone; done about {clock(seconds)}"
    )
    return num_steps, line


def length_in_words(plan: Plan, epochs: int | None, batch_size: int, parts: int, first_step: int) -> str:
    """Return how long a run is; ``epochs`` is None if its length is a number of steps."""
    in_parts = f" (in {parts} parts of {batch_size // parts})" if parts > 1 else ""
    from_step = f", from step {first_step} on" if first_step else ""
    if epochs is None:
        an_epoch = f"{plan.steps_per_epoch} steps an epoch"
        return f"{plan.num_steps} steps of {batch_size} images{in_parts}, {an_epoch}{from_step}"
    steps = f"{plan.steps_per_epoch} steps of {batch_size} images{in_parts}"
    return f"{epochs} epochs of {steps}: {plan.num_steps} steps{from_step}"


def with_new_length(overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return overrides in which new minutes don't leave the number of steps that older ones had."""
    overrides = dict(overrides or {})
    return {"train.steps": None} | overrides if overrides.get("train.minutes") else overrides
