"""From the config to the size of a step and the number of steps, if it leaves them to memory and time."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from torch import nn

from segdla.config import Config, dump
from segdla.data.from_config import whole_images
from segdla.data.loader import Batch
from segdla.data.source import Source
from segdla.data.subset import evenly_spaced
from segdla.machine import distributed
from segdla.machine.device import Machine
from segdla.machine.files import write_text
from segdla.models.from_config import memory_format
from segdla.training import from_config as build
from segdla.training.budget.batch_fit import fitting_batch
from segdla.training.budget.rehearsal import IMAGES, steps_that_fit
from segdla.training.budget.time_budget import WARM_UP_SHARE
from segdla.training.own.from_config import build_objective
from segdla.training.own.parts import Own
from segdla.training.run_folder import CONFIG
from segdla.training.state import Plan, Training, require_unfinished
from segdla.training.step import Gradients
from segdla.training.validation.from_config import build_validation


def with_batch_size(config: Config, own: Own, source: Source, model: nn.Module, machine: Machine) -> Config:
    """Return the config, with the batch size that fits into memory if it asks for ``auto``; a copy is tried."""
    t, device = config.train, machine.device
    if t.batch_size != "auto":
        return config
    copy = deepcopy(model).to(device, memory_format=memory_format(t.channels_last)).train()  # type: ignore[call-overload]
    plan = Plan(Path(), device, 1, 1, machine.precision)
    training = build.build_training(t, copy, plan)
    loss = config.loss.model_copy(update={"class_weights": None})  # they would have to be counted
    objective = build_objective(config.model_copy(update={"loss": loss}), own, source, plan, training.ema)
    loss_of = objective.over(copy, plan)
    size = fitting_batch(
        training,
        lambda images, targets: loss_of(*objective.prepared(images, targets), 1.0),
        device,
        len(source),
        distributed.world_size() * t.accumulate,
        config.data.crop,
        source.classes,
        t.cuda_graph,
    )
    return config.model_copy(update={"train": t.model_copy(update={"batch_size": size})})


def with_length(
    config: Config,
    plan: Plan,
    training: Training,
    gradients: Gradients,
    batches: Iterator[Batch],
    validation: Source,
    began: float,
) -> tuple[Config, Plan] | None:
    """Fix how many steps fit into ``train.minutes`` since the run ``began``, and write it into the run's config.

    Returns the config and the plan with that number, to which the training's schedule is fitted; None if a signal came.
    """
    assert config.train.minutes is not None, "a run without a number of steps has its minutes"
    few = evenly_spaced(validation, IMAGES * distributed.world_size())
    num_steps = steps_that_fit(
        training,
        gradients,
        batches,
        build_validation(config, few, plan, training),
        len(whole_images(config, validation, plan.device)),
        plan,
        config.train.minutes,
        began,
        lambda number: write_text(plan.run / CONFIG, dump(fitted(config, number))),
    )
    if num_steps is None:
        return None
    config, plan = fitted(config, num_steps), replace(plan, num_steps=num_steps)
    require_unfinished(training, plan, config.train.steps, config.train.epochs)
    training.schedule = build.schedule(config.train, num_steps, plan.steps_per_epoch)
    return config, plan


def fitted(config: Config, num_steps: int) -> Config:
    """Return the config of a run of ``num_steps`` steps, a tenth of which may warm up."""
    warmup_steps = min(config.train.warmup_steps, num_steps // WARM_UP_SHARE)
    train = config.train.model_copy(update={"steps": num_steps, "warmup_steps": warmup_steps})
    return config.model_copy(update={"train": train})
