"""The state of a training run: its plan, and everything that changes, from which a resumed run starts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as short
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.utils import get_total_norm
from torch.optim.swa_utils import AveragedModel

from segdla.checkpoints.checkpoint import BEST
from segdla.errors import UserError, in_shell
from segdla.machine import distributed
from segdla.machine.files import write_whole
from segdla.models.weights import read_torch_file
from segdla.training.saved_state import SavedState
from segdla.training.teacher.student import Student

LAST = "last.pt"
Tensors = tuple[Tensor, ...] | list[Tensor]


class CompleteError(UserError):
    """A run that is to be resumed has nothing left to do."""


@dataclass(frozen=True)
class Plan:
    """The folder, device, length and intervals of a training run, under the config's names."""

    run: Path
    device: torch.device
    num_steps: int
    steps_per_epoch: int
    precision: str = "fp32"
    accumulate: int = 1
    clip_norm: float | None = None
    skip_nonfinite: int = 0
    seed: int = 0
    eval_every: int = 1
    patience: int = 0  # evaluations in a row without a better score that end the run; 0 for any number
    trains_on_val: bool = False  # then those images can't choose the best weights, and the last ones are kept
    report_every: int = 10
    save_every: int = 500


@dataclass
class Training:
    """A network, its optimizer, and their progress.

    ``schedule`` gives the share of the learning rate at a step. It and the optimizer's settings follow from the config,
    also in a resumed run, so neither is part of the state. ``optimizer`` knows its parameters by name. ``scaler`` is
    for fp16, ``ema`` is the moving average of the weights. Random numbers aren't part of the state either: each step
    draws its own from (seed, step).
    """

    model: nn.Module  # everything that is trained
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float]
    scaler: GradScaler = field(default_factory=lambda: GradScaler("cpu", enabled=False))
    ema: AveragedModel | None = None
    step: int = 0
    evaluated: int = 0  # the step of the last evaluation
    best: float = -1.0  # score
    waited: int = 0  # evaluations since the best one
    stream: dict[str, Any] = field(default_factory=dict)  # facts that decide the samples' order and labels
    skipped: int = 0  # steps left out because they were not finite

    def __post_init__(self) -> None:
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]

    @property
    def network(self) -> nn.Module:
        """The network in training: the model, or a student's, without what it learns from its teacher by."""
        return self.model.network if isinstance(self.model, Student) else self.model

    @property
    def candidate(self) -> nn.Module:
        """The network to evaluate and to keep: the moving average if there is one, else the one in training."""
        return self.network if self.ema is None else self.ema.module

    def has_ended(self, plan: Plan) -> bool:
        """Return whether all steps of the plan are done and evaluated, or its patience has run out."""
        return self.evaluated >= plan.num_steps or self.has_lost_patience(plan)

    def has_lost_patience(self, plan: Plan) -> bool:
        """Return whether the last ``plan.patience`` evaluations were no better than one before them."""
        return 0 < plan.patience <= self.waited

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step, before the factors of backbone and decoder."""
        return self.optimizer.defaults["lr"] * self.schedule(step)

    def set_lr(self) -> None:
        """Set the optimizer's learning rates for the next step."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.schedule(self.step)

    @torch.no_grad()
    def average(self) -> None:
        """Add the present weights to the moving average.

        ``ema.update_parameters`` does the same, but sends its count to the device each time and waits for it. Batch
        normalisation's count of batches is an integer and has no average.
        """
        if self.ema is None:
            return
        average, now = (
            [tensor for tensor in (*network.parameters(), *network.buffers()) if tensor.is_floating_point()]
            for network in (self.ema.module, self.network)
        )
        if self.ema.n_averaged == 0:
            torch._foreach_copy_(average, now)
        else:
            assert self.ema.multi_avg_fn is not None, "a moving average has its rule"
            self.ema.multi_avg_fn(average, now, self.ema.n_averaged)
        self.ema.n_averaged += 1

    def is_finite(self) -> bool:
        """Return whether every weight is finite; waits for the device."""
        return bool(get_total_norm(self.model.parameters()).isfinite())

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, as tensors and plain values."""
        state = self.optimizer.state_dict()
        names = [name for group in state["param_groups"] for name in group["param_names"]]
        return {
            "model": self.model.state_dict(),
            "optimizer_name": type(self.optimizer).__name__,
            "optimizer": {names[index]: values for index, values in state["state"].items()},
            "scaler": self.scaler.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "step": self.step,
            "evaluated": self.evaluated,
            "best": self.best,
            "waited": self.waited,
            "skipped": self.skipped,
            "stream": self.stream,
        }

    def load_state_dict(self, state: SavedState) -> None:
        """Load a saved state, after all of it is checked.

        Raises ValueError, and leaves the training as it was, if it belongs to another network or optimizer.
        """
        state.require_fit(self.model, self.optimizer, self.scaler.state_dict(), self.ema)
        self.model.load_state_dict(state.model)
        fresh = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**fresh, "state": state.moments(self.optimizer) or fresh["state"]})
        for parameter, values in self.optimizer.state.items():
            for key, value in values.items():
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    # Fused optimizers read memory in the parameter's layout, which may have changed since.
                    values[key] = torch.empty_like(parameter, requires_grad=False).copy_(value)
        if self.scaler.is_enabled() and state.scaler:
            self.scaler.load_state_dict(state.scaler)
        if self.ema is not None:
            if state.ema is None:  # it was switched on since, and starts from the present weights
                self.ema.module.load_state_dict(self.network.state_dict())
            else:
                self.ema.load_state_dict(state.ema)
        self.step = state.step
        self.evaluated = state.evaluated
        self.best = state.best
        self.waited = state.waited
        self.skipped = state.skipped


def write_state(run: Path, state: dict[str, Any]) -> None:
    """Write a training's ``state_dict``, to resume from, whole or not at all. Raises UserError if that fails."""
    write_whole(run / LAST, lambda file: torch.save(state, file), durable=True)


def read_state(run: Path) -> SavedState | None:
    """Read the state of a run; None if the run ended before it wrote one. Raises UserError if it can't be read."""
    if not (run / LAST).is_file():
        return None
    remedy = f"start a new run from its weights with {in_shell(run / BEST, 'model.weights')}"
    try:
        return SavedState.from_dict(read_torch_file(run / LAST))
    except UserError as error:
        if isinstance(error.__cause__, OSError):  # the disk's fault, not the file's
            raise
        raise UserError(
            f"{run / LAST} is cut short or damaged: no state can be loaded safely from it; {remedy}"
        ) from error
    except ValueError as error:
        raise UserError(f"{run / LAST} is damaged, or no state of a training: {error}; {remedy}") from error


def require_unfinished(training: Training, plan: Plan, steps: int | None, epochs: int) -> None:
    """Raise CompleteError if a run has nothing left to do; ``steps``, or else ``epochs``, say how long it is."""
    if training.has_lost_patience(plan):
        raise CompleteError(
            f"{plan.run} has ended after {training.waited} evaluations without a better score (train.patience); to go "
            f"on, add train.patience={2 * training.waited}"
        )
    if training.evaluated >= plan.num_steps or training.step > plan.num_steps:
        key, length, done = "epochs", epochs, -(-training.step // plan.steps_per_epoch)
        if steps:
            key, length, done = "steps", steps, training.step
        raise CompleteError(
            f"{plan.run} has done its {length} {key}; to go on, add train.{key}={2 * max(length, done)}"
        )


def restore(training: Training, state: SavedState, run: Path) -> None:
    """Bring a training run to the state in which it ended. Raises UserError if the state does not fit."""
    for name, now in training.stream.items():
        if (before := state.stream.get(name, now)) != now:
            raise UserError(
                f"{name} is {now}, and was {short(before)} when {run} was saved: it would not be the same run that "
                "goes on; resume it as it was, or start a new one from its weights with "
                f"{in_shell(run / BEST, 'model.weights')}"
            )
    try:
        training.load_state_dict(state)
    except ValueError as error:
        raise UserError(
            f"the state of {run} does not fit the config; resume without changing model, data or train.optimizer "
            f"({error})"
        ) from error
    if not distributed.on_main((run / BEST).exists):  # the weights of the best score are gone
        training.best = -1.0


def moving_average(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Return a function that updates averages in place from present values and the number of values so far.

    It averages over the last tenth of the values at first, because the weights of the first steps are worth nothing,
    and then over more and more, until ``decay`` is reached.
    """

    def update(averages: Tensors, values: Tensors, count: Tensor | int) -> None:
        torch._foreach_lerp_(averages, values, 1 - min(decay, (1 + int(count)) / (10 + int(count))))

    return update
