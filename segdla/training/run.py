"""A training run: set up the machine, open the data, the network and the training state, then train.

Nothing is written before all of these are open. Slow work, such as decoding or counting a data set, comes after every
check that doesn't need it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from segdla.config import Config, dump, load_config
from segdla.data.from_config import cached, num_workers, training_samples, training_transform
from segdla.data.loader import Batch
from segdla.data.samples import SegmentationDataset, Transform
from segdla.data.source import Source
from segdla.errors import UserError
from segdla.machine import distributed
from segdla.machine.device import Machine, compiled, start
from segdla.machine.heap import keep_memory
from segdla.machine.out_of_memory import answering_out_of_memory
from segdla.machine.terminal import say
from segdla.models.dlaseg import DLASeg
from segdla.models.from_config import completed, load_initial_weights
from segdla.training import from_config as build
from segdla.training import loop
from segdla.training.batches import batches_of
from segdla.training.budget.from_config import with_batch_size, with_length
from segdla.training.budget.time_budget import UNKNOWN, with_new_length
from segdla.training.cuda_graph import Recorded
from segdla.training.loggers import require_installed
from segdla.training.own.from_config import (
    advise_weights,
    build_objective,
    open_data,
    open_network,
    require_fitting_loss,
)
from segdla.training.own.parts import Data, Loss, Own
from segdla.training.relaunch import Launch, interrupted, same_parts
from segdla.training.run_folder import CONFIG, Run, begun, continued, new_folder, occupied
from segdla.training.state import CompleteError, Plan, Training, read_state, require_unfinished, restore
from segdla.training.step import Gradients
from segdla.training.teacher.from_config import with_teacher
from segdla.training.validation.from_config import build_validation


class Setup(NamedTuple):
    """Everything a training run needs, opened; nothing has been written yet."""

    config: Config
    own: Own
    machine: Machine
    data: Data
    transform: Transform
    plan: Plan
    training: Training


def train(
    config: Config | str | os.PathLike[str],
    overrides: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    runs: str | os.PathLike[str] = "runs",
    loss: Loss | None = None,
    source: Mapping[str, Source] | None = None,
    model: DLASeg | None = None,
) -> Run:
    """Train a network and keep everything about it in a run folder, ``runs``/``name``.

    config: a YAML file or a ``Config``; ``overrides`` are ``{"section.key": value}``. name: without one, the run is
    called like the config's file, or ``run``, and numbered if that is taken.
    loss: your own function of logits (B,C,H,W) and targets (B,H,W), in place of the config's. source: your own data, a
    ``Source`` for each of ``train`` and ``val``. model: your own ``DLASeg``, which is trained in place; load the run
    with it too.

    Raises UserError, one line with the remedy, if something does not fit.
    """
    default = "run" if isinstance(config, Config) else Path(config).stem
    if (begun := interrupted(Path(runs), name, default, CONFIG)) is not None:
        return resume(begun, loss=loss, source=source, model=model)
    choose = partial(new_folder, Path(runs), name, default)
    settings, folder = distributed.on_main(lambda: (load_config(config, with_new_length(overrides)), choose()))
    return _run(settings, Own(loss, source, model), folder, choose)


def resume(
    run: str | os.PathLike[str],
    overrides: Mapping[str, Any] | None = None,
    *,
    loss: Loss | None = None,
    source: Mapping[str, Source] | None = None,
    model: DLASeg | None = None,
) -> Run:
    """Resume a run where it stopped, under its own config; see ``train`` for the arguments.

    If torchrun has started this command again, the run goes on as it was begun, without the overrides.

    Raises UserError if there is no such run, another process trains it, or something does not fit.
    """
    folder, launch = Path(run), Launch.here()

    def begin() -> tuple[Config, bool]:
        if not (folder / CONFIG).is_file():
            raise UserError(f"cannot resume {folder}: there is no {folder / CONFIG}; runs are folders in runs/")
        is_again = launch.has_begun(folder)
        changes = {} if is_again else dict(overrides or {})
        config = load_config(folder / CONFIG, with_new_length(changes))
        return (config if "train.accumulate" in changes else in_the_same_parts(config, folder)), is_again

    config, is_again = distributed.on_main(begin)
    if is_again and distributed.is_main():
        say(f"torchrun has started this command again: {folder} goes on")
    try:
        return _run(config, Own(loss, source, model), folder, None)
    except CompleteError:
        if not is_again:
            raise
        distributed.on_main(lambda: launch.write(folder))  # a program's next run is looked for among the others
        return Run(folder, finished=True)


def in_the_same_parts(config: Config, folder: Path) -> Config:
    """Return a resumed run's config, with a step's parts no larger than when another number of processes took it."""
    t = config.train
    accumulate = t.accumulate if t.batch_size == "auto" else same_parts(folder, t.batch_size, t.accumulate)
    if accumulate == t.accumulate:
        return config
    say(f"{distributed.world_size()} processes now: train.accumulate is {accumulate}, and was {t.accumulate}")
    return config.model_copy(update={"train": t.model_copy(update={"accumulate": accumulate})})


def _run(config: Config, own: Own, folder: Path, another: Callable[[], Path] | None) -> Run:
    """Train in a folder; ``another`` gives the next one if a new run's is taken, and is None for a resumed run."""
    began = time.monotonic()
    require_installed(config.train.logger)
    with started(config) as machine, ExitStack() as stack:
        if another is None:
            distributed.on_main(lambda: stack.enter_context(occupied(folder)))
        return _train(open_setup(config, own, machine, folder, resumes=another is None), stack, another, began)


@contextmanager
def started(config: Config) -> Iterator[Machine]:
    """Start the machine as a config's training asks; within, a lack of memory is answered with the remedy.

    Raises UserError if the machine can't do what the config asks.
    """
    t = config.train
    build.require_possible(config)
    machine = start(t.device, t.precision, deterministic=t.deterministic)
    keep_memory(machine.device)
    torch.manual_seed(t.seed)
    with answering_out_of_memory(machine.device, build.memory_remedy(config), num_workers(config)):
        yield machine


def open_setup(config: Config, own: Own, machine: Machine, folder: Path, *, resumes: bool) -> Setup:
    """Open data, network and training state, in this order."""
    require_fitting_loss(config, own)
    data = open_data(config, own)
    transform = training_transform(config, data.training.classes.num_values)
    config = distributed.on_main(lambda: completed(config, is_new=not resumes))
    if not resumes:
        advise_weights(config, own)
    network = open_network(config, own, data)
    model = with_teacher(network, config, data.training.classes, machine, folder)
    config = with_batch_size(config, own, data.training, model, machine)
    model = build.prepared(model, config.train, machine.device)
    plan = build.build_plan(config, folder, machine, len(data.training))
    training = open_training(config, data, network, model, plan, resumes)
    return Setup(config, own, machine, data, transform, plan, training)


def open_training(config: Config, data: Data, network: DLASeg, model: nn.Module, plan: Plan, resumes: bool) -> Training:
    """Open the training state: at step 0 with the initial weights, or where the run's state says.

    ``model`` is everything that is trained, the network among it. Raises UserError if weights or state don't fit, or
    the run is already complete.
    """
    state = distributed.on_main(lambda: read_state(plan.run)) if resumes else None  # None: the run had none yet
    if state is None:
        load_initial_weights(network, config.model)
    training = build.build_training(config.train, model, plan)
    training.stream = build.stream_of(config, data.training, model)
    if state is not None:
        restore(training, state, plan.run)
        require_unfinished(training, plan, config.train.steps, config.train.epochs)
    return training


def _train(setup: Setup, stack: ExitStack, another: Callable[[], Path] | None, began: float) -> Run:
    """Build caches, loss and gradients, write the config, fix the length of the run, print a summary, and train."""
    config, own, machine, data, _, plan, training = setup
    # Validation is the smaller split: with its cache built, it is known early whether the other one has room.
    validation = cached(config, data.validation, "val")
    learner, samples, gradients = prepare(setup)
    written, launch = dump(config), Launch.here()
    in_place = (
        begun(plan.run, written, launch, training, another)
        if another
        else continued(plan.run, written, launch, training)
    )
    folder = distributed.on_main(lambda: stack.enter_context(in_place))
    setup = setup._replace(plan=replace(plan, run=folder))
    if plan.num_steps == UNKNOWN:
        fitted = with_length(config, setup.plan, training, gradients, batches(setup, samples), validation, began)
        if fitted is None:
            return Run(setup.plan.run, finished=False)
        setup = setup._replace(config=fitted[0], plan=fitted[1])
    config, plan = setup.config, setup.plan
    if distributed.is_main():
        forms = ["compiled"] * (learner is not training.model) + ["as one CUDA graph"] * isinstance(gradients, Recorded)
        say(build.summary(config, own, data, plan, training, [str(machine), *forms]))
    log = build.build_log(config, plan, training) if distributed.is_main() else None
    with log or nullcontext():
        scored = build_validation(config, validation, plan, training)
        stopped_by = loop.train(training, gradients, batches(setup, samples), scored, log, plan)
        return Run(plan.run, stopped_by is None, stopped_by)


def batches(setup: Setup, samples: SegmentationDataset) -> Iterator[Batch]:
    """Return the batches of the steps that the training still has to take."""
    size, workers = setup.config.train.images_per_step, num_workers(setup.config)
    mix = build.build_mix(setup.config.data, setup.data.training.classes)
    return batches_of(setup.plan, setup.training, samples, size, workers, mix)


def prepare(setup: Setup) -> tuple[nn.Module, SegmentationDataset, Gradients]:
    """Return the model in the form in which it learns, its samples, and the function of a step's gradients."""
    config, own, machine, data, transform, plan, training = setup
    learner = compiled(training.model, machine.device) if config.train.compile else training.model
    samples = training_samples(config, data.training, transform)
    objective = build_objective(config, own, samples.source, plan, training.ema)
    return learner, samples, build.build_gradients(config.train, training, learner, objective, plan)
