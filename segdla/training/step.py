"""One optimizer step over the parts of a batch, in one of several processes."""

import math
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from segdla.data.loader import Batch
from segdla.machine import distributed
from segdla.training.losses import Objective
from segdla.training.state import Plan, Training

Gradients = Callable[[tuple[Batch, ...]], Tensor]
"""Takes the parts of a batch; returns the step's loss, on the device, and leaves its gradients in the network's
parameters, multiplied by fp16's scale."""


def gradients_of(training: Training, learner: nn.Module, objective: Objective, plan: Plan) -> Gradients:
    """Return the function that computes a step's gradients.

    ``learner`` is ``training.model`` in the form in which it trains: as it is, compiled, or replicated over devices.
    """
    loss_of = objective.over(learner, plan)

    def gradients(parts: tuple[Batch, ...]) -> Tensor:
        images, masks = zip(*(part.on(plan.device) for part in parts), strict=True)
        targets = [mask if mask.is_floating_point() else mask.long() for mask in masks]
        learned = [objective.prepared(*part) for part in zip(images, targets, strict=True)]
        total = torch.zeros((), device=plan.device)
        for i, share in enumerate(shares([objective.amount(labels) for _, labels in learned])):
            is_last = i == len(parts) - 1
            with nullcontext() if is_last else distributed.unsynchronised(learner):
                loss = loss_of(*learned[i], share)
                training.scaler.scale(loss).backward()
            total += loss.detach()
        return total

    return gradients


def seed_step(training: Training, plan: Plan) -> None:
    """Let the network's random numbers, as for dropout, depend on seed, step and process alone."""
    torch.manual_seed(np.random.SeedSequence((plan.seed, training.step, distributed.rank())).generate_state(1)[0])


def take_step(training: Training, gradients: Gradients, parts: tuple[Batch, ...], plan: Plan) -> tuple[Tensor, bool]:
    """Take one optimizer step over the parts of a batch; return its loss, on the device, and whether it was taken.

    With ``plan.skip_nonfinite``, a step whose loss or gradient is not finite is not taken and changes nothing. To find
    that out, the host waits for the device.
    """
    before = [buffer.clone() for buffer in training.model.buffers()] if plan.skip_nonfinite else []
    loss = gradients(parts)
    is_finite = True
    if plan.clip_norm or plan.skip_nonfinite:
        training.scaler.unscale_(training.optimizer)
        norm = clip_grad_norm_(training.model.parameters(), plan.clip_norm or math.inf)
        if plan.skip_nonfinite:
            # In fp16 a gradient may overflow, which the scaler handles.
            number = loss if training.scaler.is_enabled() else loss + norm
            is_finite = bool(distributed.total(number.clone()).isfinite())
    if is_finite:
        training.scaler.step(training.optimizer)
        training.average()
    else:
        for buffer, value_before in zip(training.model.buffers(), before, strict=True):
            buffer.copy_(value_before)
    training.scaler.update()
    training.optimizer.zero_grad(set_to_none=True)
    return loss, is_finite


def shares(amounts: list[Tensor]) -> list[Tensor | float]:
    """Return the weight of each part's mean loss: its share of the whole step's labelled pixels (``amounts``).

    The shares are multiplied by the number of processes, because their gradients are averaged. A mean over pixels is
    then the mean over the step, however the step is dealt out.
    """
    if len(amounts) == distributed.world_size() == 1:
        return [1.0]
    mine = torch.stack(amounts)
    return list(distributed.world_size() * mine / distributed.total(mine.sum()).clamp(min=1e-6))
