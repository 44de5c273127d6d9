"""The time that a training run takes, foretold after a few steps."""

from pathlib import Path

from segdla.errors import in_shell
from segdla.machine.terminal import clock, rough_duration

_WARM_UP = 3  # steps: the first ones prepare kernels, and take what the loader has read ahead
_STEPS, _SECONDS = 5, 10.0  # a pace is settled after both
_LONG = 3 * 3600.0
_SHARE = 0.2  # of the steps' time; evaluations that take more are told too


class Forecast:
    """Tells once how long a run will take; after the first evaluation again, if evaluations make it much longer.

    ``now`` is a clock in seconds, such as ``time.monotonic()``; each answer is a text to print, or empty.
    steps_between: evaluations. advice: what to change about a run of many hours.
    """

    def __init__(self, first_step: int, num_steps: int, steps_between: int, advice: str):
        self.first_step, self.num_steps = first_step, num_steps
        self.steps_between = steps_between
        self.advice = advice
        self._steps, self._seconds = 0, 0.0  # that were timed
        self._last: float | None = None  # end of the last step or evaluation
        self._told = self._told_again = False

    def step_done(self, step: int, now: float) -> str:
        """Count the time since the last step or evaluation as a step's."""
        if self._last is not None and step > self.first_step + _WARM_UP:
            self._steps += 1
            self._seconds += now - self._last
        self._last = now
        if self._told or self._steps < _STEPS or self._seconds < _SECONDS:
            return ""
        self._told = True
        pace, more = self._seconds / self._steps, "more " if self.first_step else ""
        whole, left = (pace * (self.num_steps - done) for done in (self.first_step, step))
        text = f"about {rough_duration(whole)} for {self.num_steps - self.first_step:,} {more}steps"
        return f"{text}, and what evaluations take; done about {clock(left)}" + self._warning(whole)

    def evaluation_done(self, step: int, now: float) -> str:
        """Count the time since the last step as an evaluation's."""
        last, self._last = self._last, now
        if last is None or not self._told or self._told_again:
            return ""
        self._told_again = True
        steps = self._seconds / self._steps * (self.num_steps - step)
        evaluations = (now - last) * -(-(self.num_steps - step) // self.steps_between)
        if evaluations < _SHARE * steps:
            return ""
        text = f"evaluations take about {rough_duration(now - last)} each (train.eval_every); done about"
        return f"{text} {clock(steps + evaluations)}"

    def _warning(self, seconds: float) -> str:
        return f"\na long time: {self.advice}" if seconds > _LONG and self.advice else ""


def remedy_of_length(run: Path, length: str, crop: tuple[int, int], backbone: str) -> str:
    """Return what to change about a run on a CPU that takes many hours; ``length`` is the key that says how long."""
    smaller = "" if backbone == "dla46_c" else f"model.backbone=dla46_c (now {backbone}), "
    return (
        f"Ctrl-C saves it; then --resume {in_shell(run)} with fewer {length}, or start anew with {smaller}a "
        f"smaller data.crop (now {crop[0]}x{crop[1]}), or on a GPU"
    )
