"""One optimizer step: the parts of a batch, on one of several devices."""

import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from segdla import distributed
from segdla.data.loader import Batch
from segdla.engine.state import Plan, Training
from segdla.inference.predictors import in_precision
from segdla.losses import Objective

# Of the parts of a batch: gives the step's loss, on the device, and leaves its gradient in the network's parameters,
# times the scale of fp16.
Gradients = Callable[[tuple[Batch, ...]], Tensor]


def gradients_of(training: Training, learner: nn.Module, objective: Objective, plan: Plan) -> Gradients:
    """``learner`` is ``training.model`` as it trains: compiled, or replicated over devices, or itself."""
    forward = in_precision(learner, plan.device, plan.precision)

    def gradients(parts: tuple[Batch, ...]) -> Tensor:
        images, targets = zip(*(part.on(plan.device) for part in parts), strict=True)
        targets = [part.long() for part in targets]
        value = torch.zeros((), device=plan.device)
        for i, share in enumerate(shares([objective.amount(part) for part in targets])):
            last = i == len(parts) - 1
            with nullcontext() if last else distributed.unsynchronised(learner):
                part = objective(forward(images[i]), targets[i]) * share
                training.scaler.scale(part).backward()
            value += part.detach()
        return value

    return gradients


def take_step(training: Training, gradients: Gradients, parts: tuple[Batch, ...], plan: Plan) -> tuple[Tensor, bool]:
    """One optimizer step over the parts of a batch: its loss, on the device, and whether it was taken.

    It is not, and nothing has changed, where its loss or gradient is not finite and ``plan.skip_nonfinite`` says so;
    to know that is to wait for the device.
    """
    before = [buffer.clone() for buffer in training.model.buffers()] if plan.skip_nonfinite else []
    value = gradients(parts)
    finite = True
    if plan.clip_norm or plan.skip_nonfinite:
        training.scaler.unscale_(training.optimizer)
        norm = clip_grad_norm_(training.model.parameters(), plan.clip_norm or math.inf)
        if plan.skip_nonfinite:
            # In fp16 a gradient may overflow: that is what the scaler is for.
            known = value if training.scaler.is_enabled() else value + norm
            finite = bool(distributed.total(known.clone()).isfinite())
    if finite:
        training.scaler.step(training.optimizer)
        training.average()
    else:
        for buffer, value_before in zip(training.model.buffers(), before, strict=True):
            buffer.copy_(value_before)
    training.scaler.update()
    training.optimizer.zero_grad(set_to_none=True)
    return value, finite


def shares(amounts: list[Tensor]) -> list[Tensor | float]:
    """What the mean loss of each part weighs, of the parts' labelled pixels: a share of the whole step's.

    Times the number of processes, because their gradients are averaged. Together, means over pixels are then the mean
    over the step, however it is dealt out.
    """
    if len(amounts) == distributed.world_size() == 1:
        return [1.0]
    mine = torch.stack(amounts)
    return list(distributed.world_size() * mine / distributed.total(mine.sum()).clamp(min=1e-6))
