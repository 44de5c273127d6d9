"""What a training run is: its plan, and what changes as it goes, from which a resumed run starts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.amp import GradScaler
from torch.nn.utils import get_total_norm
from torch.optim.swa_utils import AveragedModel


@dataclass(frozen=True)
class Plan:
    """Where, how long, how often and in what way to train; the config's words."""

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
    trains_on_val: bool = False  # then nothing can be chosen by those images, and the last weights are kept
    report_every: int = 10
    save_every: int = 500


@dataclass
class Training:
    """The network, its optimizer, and how far they are.

    ``schedule`` gives the share of the learning rate at a step; what it and the optimizer's settings are is the
    config's to say, also for a resumed run, so that neither is part of the state. ``optimizer`` knows its parameters by
    name. ``scaler`` is for fp16, ``ema`` the moving average of the weights. Random numbers are no state either: each
    step draws its own from (seed, step).
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float]
    scaler: GradScaler = field(default_factory=lambda: GradScaler("cpu", enabled=False))
    ema: AveragedModel | None = None
    step: int = 0
    evaluated: int = 0  # the last step after which there was an evaluation
    best: float = -1.0  # mIoU
    stream: dict[str, Any] = field(default_factory=dict)  # what its samples' order and labels follow from, by name
    skipped: int = 0  # steps left out because they were not finite

    def __post_init__(self) -> None:
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]

    @property
    def kept(self) -> nn.Module:
        """The network that is evaluated and saved as a checkpoint."""
        return self.model if self.ema is None else self.ema.module

    def lr_at(self, step: int) -> float:
        """The learning rate of a step, before the factors of backbone and decoder."""
        return self.optimizer.defaults["lr"] * self.schedule(step)

    def set_lr(self) -> None:
        """Put the learning rate of the next step in force."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.schedule(self.step)

    @torch.no_grad()
    def average(self) -> None:
        """Take the weights as they are now into the moving average.

        What ``ema.update_parameters`` does, but that sends its count to the device each time, and waits for it. The
        count of batches, an integer, has no average.
        """
        if self.ema is None:
            return
        average, now = (
            [tensor for tensor in (*network.parameters(), *network.buffers()) if tensor.is_floating_point()]
            for network in (self.ema.module, self.model)
        )
        if self.ema.n_averaged == 0:
            torch._foreach_copy_(average, now)
        else:
            self.ema.multi_avg_fn(average, now, self.ema.n_averaged)
        self.ema.n_averaged += 1

    def is_finite(self) -> bool:
        """Whether every weight is a number; waits for the device."""
        return bool(get_total_norm(self.model.parameters()).isfinite())

    def state_dict(self) -> dict[str, Any]:
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
            "skipped": self.skipped,
            "stream": self.stream,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises KeyError, RuntimeError, TypeError or ValueError where the state is of other networks or settings."""
        self.model.load_state_dict(state["model"])
        fresh = self.optimizer.state_dict()
        names = [name for group in fresh["param_groups"] for name in group["param_names"]]
        if state["optimizer_name"] != type(self.optimizer).__name__:
            raise ValueError("the state is of another optimizer")
        if state["optimizer"] and set(state["optimizer"]) != set(names):
            raise ValueError("the optimizer's state is of other parameters")
        moments = {index: state["optimizer"][name] for index, name in enumerate(names) if state["optimizer"]}
        self.optimizer.load_state_dict({**fresh, "state": moments or fresh["state"]})
        for parameter, kept in self.optimizer.state.items():
            for key, value in kept.items():
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    # Fused optimizers go through memory as the parameter lies, which may be another layout now.
                    kept[key] = torch.empty_like(parameter, requires_grad=False).copy_(value)
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        if self.ema is not None:
            if state["ema"] is None:  # it was switched on since: it starts from the weights as they are
                self.ema.module.load_state_dict(state["model"])
            else:
                self.ema.load_state_dict(state["ema"])
        self.step = state["step"]
        self.evaluated = state["evaluated"]
        self.best = state["best"]
        self.skipped = state["skipped"]
