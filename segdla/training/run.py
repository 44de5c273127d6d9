"""A training run: set up the machine, open the data, the network and the training state, then train.

Nothing is written before all of these are open. Slow work, such as decoding or counting a data set, comes after every
check that doesn't need it.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from segdla.config import Config, dump, load_config
from segdla.data.from_config import cached, num_workers, open_split, training_samples, training_transform
from segdla.data.loader import Batch
from segdla.data.samples import SegmentationDataset, Transform
from segdla.data.source import Source
from segdla.doctor.quick_check import quick_check
from segdla.errors import UserError
from segdla.machine import distributed
from segdla.machine.device import Machine, compiled, start
from segdla.machine.out_of_memory import answering_out_of_memory
from segdla.machine.terminal import say
from segdla.models.dlaseg import DLASeg
from segdla.models.from_config import about_weights, build_network, completed, load_initial_weights
from segdla.training import from_config as build
from segdla.training import loop
from segdla.training.batches import batches_of
from segdla.training.budget.from_config import with_batch_size, with_length
from segdla.training.budget.time_budget import UNKNOWN
from segdla.training.cuda_graph import Recorded
from segdla.training.loggers import require_installed
from segdla.training.lr_range import NUM_STEPS, RangeTest, range_test
from segdla.training.own import Data, Loss, Own, own_data, require_fitting
from segdla.training.run_folder import CONFIG, Run, config_in_place, new_folder, occupied
from segdla.training.state import Plan, Training, read_state, require_unfinished, restore
from segdla.training.step import Gradients


class Setup(NamedTuple):
    """Everything a training run needs, opened; nothing has been written yet."""

    config: Config
    own: Own
    machine: Machine
    data: Data
    transform: Transform
    network: DLASeg
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

    def choose() -> Path:
        return new_folder(Path(runs), name, "run" if isinstance(config, Config) else Path(config).stem)

    settings, folder = distributed.on_main(lambda: (load_config(config, _with_new_length(overrides)), choose()))
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

    Raises UserError if there is no such run, another process trains it, or something does not fit.
    """
    folder = Path(run)

    def begin() -> Config:
        if not (folder / CONFIG).is_file():
            raise UserError(f"cannot resume {folder}: there is no {folder / CONFIG}; runs are folders in runs/")
        return load_config(folder / CONFIG, _with_new_length(overrides))

    return _run(distributed.on_main(begin), Own(loss, source, model), folder, None)


def find_lr(
    config: Config | str | os.PathLike[str],
    overrides: Mapping[str, Any] | None = None,
    *,
    loss: Loss | None = None,
    source: Mapping[str, Source] | None = None,
    model: DLASeg | None = None,
) -> RangeTest | None:
    """Take up to 100 steps at learning rates that rise from 1e-6 to 10; return the losses and a proposal.

    See ``train`` for the arguments. Nothing is written, and no run is begun; a ``model`` of your own is trained in
    place. None if a signal came.

    Raises UserError, one line with the remedy, if something does not fit.
    """
    settings = distributed.on_main(lambda: load_config(config, overrides))
    build.require_possible(settings)
    machine = start(settings.train.device, settings.train.precision, deterministic=settings.train.deterministic)
    torch.manual_seed(settings.train.seed)
    with answering_out_of_memory(machine.device, build.memory_remedy(settings), num_workers(settings)):
        setup = _open(settings, Own(loss, source, model), machine, Path(), resumes=False)
        setup = setup._replace(plan=replace(setup.plan, num_steps=NUM_STEPS))
        _, samples, gradients = _prepare(setup)
        return range_test(setup.training, gradients, _batches(setup, samples), setup.plan)


def _with_new_length(overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return overrides in which new minutes don't leave the number of steps that older ones had."""
    overrides = dict(overrides or {})
    return {"train.steps": None} | overrides if overrides.get("train.minutes") else overrides


def _run(config: Config, own: Own, folder: Path, another: Callable[[], Path] | None) -> Run:
    """Train in a folder; ``another`` gives the next one if a new run's is taken, and is None for a resumed run."""
    began = time.monotonic()
    t, resumes = config.train, another is None
    require_installed(t.logger)
    build.require_possible(config)
    machine = start(t.device, t.precision, deterministic=t.deterministic)
    torch.manual_seed(t.seed)
    remedy = build.memory_remedy(config)
    with answering_out_of_memory(machine.device, remedy, num_workers(config)), ExitStack() as stack:
        if resumes:
            distributed.on_main(lambda: stack.enter_context(occupied(folder)))
        return _train(_open(config, own, machine, folder, resumes=resumes), stack, another, began)


def _open(config: Config, own: Own, machine: Machine, folder: Path, *, resumes: bool) -> Setup:
    """Open data, network and training state, in this order."""
    data = open_data(config, own)
    transform = training_transform(config, len(data.training.classes))
    config = distributed.on_main(partial(completed, config, is_new=not resumes))
    starts_at_random = not (resumes or config.model.weights or own.model)
    if starts_at_random and distributed.is_main() and (advice := about_weights(config.model)):
        say(advice)
    network = open_network(config, own, data)
    config = with_batch_size(config, own, data.training, network, machine)
    network = build.prepared(network, config.train, machine.device)
    plan = build.build_plan(config, folder, machine, len(data.training))
    training = open_training(config, data, network, plan, resumes=resumes)
    return Setup(config, own, machine, data, transform, network, plan, training)


def open_data(config: Config, own: Own) -> Data:
    """Open the splits and check a few of their pairs. Raises UserError if something is wrong with them."""
    if own.source is not None:
        return own_data(own.source, trains_on_val=config.trains_on_val)
    data = Data(open_split(config, "train"), open_split(config, "val"))
    for source in data[1:] if config.data.unreadable == "skip" else data:
        doubt = quick_check(source)
        if doubt and distributed.is_main():
            say(f"{doubt} (segdla check CONFIG tells more)")
    return data


def open_network(config: Config, own: Own, data: Data) -> DLASeg:
    """Open the network, freshly initialised. Raises UserError if it does not fit the data."""
    if own.model is not None:
        require_fitting(own.model, data.training.classes)
        return own.model
    return build_network(config.model, len(data.training.classes))


def open_training(config: Config, data: Data, network: DLASeg, plan: Plan, *, resumes: bool) -> Training:
    """Open the training state: at step 0 with the initial weights, or where the run's state says.

    Raises UserError if weights or state don't fit, or the run is already complete.
    """
    state = distributed.on_main(lambda: read_state(plan.run)) if resumes else None  # None: the run had none yet
    if state is None:
        load_initial_weights(network, config.model)
    training = build.build_training(config.train, network, plan)
    training.stream = build.stream_of(config, data.training)
    if state is not None:
        restore(training, state, plan.run)
        require_unfinished(training, plan, config.train.steps, config.train.epochs)
    return training


def _train(setup: Setup, stack: ExitStack, another: Callable[[], Path] | None, began: float) -> Run:
    """Build caches, loss and gradients, write the config, fix the length of the run, print a summary, and train."""
    config, own, machine, data, _, _, plan, training = setup
    # Validation is the smaller split: with its cache built, it is known early whether the other one has room.
    validation = cached(config, data.validation, "val")
    learner, samples, gradients = _prepare(setup)
    in_place = config_in_place(plan.run, dump(config), training, is_new=another is not None, another=another)
    setup = setup._replace(plan=replace(plan, run=distributed.on_main(lambda: stack.enter_context(in_place))))
    if plan.num_steps == UNKNOWN:
        fitted = with_length(config, setup.plan, training, gradients, _batches(setup, samples), validation, began)
        if fitted is None:
            return Run(setup.plan.run, finished=False)
        setup = setup._replace(config=fitted[0], plan=fitted[1])
    config, plan = setup.config, setup.plan
    if distributed.is_main():
        forms = ["compiled"] * (learner is not setup.network) + ["as one CUDA graph"] * isinstance(gradients, Recorded)
        say(build.summary(config, own, data, plan, training, [str(machine), *forms]))
    log = build.build_log(config, data.training.classes, plan, training) if distributed.is_main() else None
    with log or nullcontext():
        scored = build.build_validation(config, validation, plan, training)
        return Run(plan.run, loop.train(training, gradients, _batches(setup, samples), scored, log, plan))


def _batches(setup: Setup, samples: SegmentationDataset) -> Iterator[Batch]:
    size, workers = setup.config.train.images_per_step, num_workers(setup.config)
    return batches_of(setup.plan, setup.training, samples, size, workers)


def _prepare(setup: Setup) -> tuple[nn.Module, SegmentationDataset, Gradients]:
    """Return the network in the form in which it learns, its samples, and the function of a step's gradients."""
    config, own, machine, data, transform, network, plan, training = setup
    learner = compiled(network, machine.device) if config.train.compile else network
    samples = training_samples(config, data.training, transform)
    objective = build.build_objective(config, own, samples.source, machine.device)
    replica = distributed.replicated(learner, machine.device)
    return learner, samples, build.build_gradients(config.train, training, replica, objective, plan)
