"""From config to a training run."""

import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch

from segdla import __version__, build, distributed, engine
from segdla import config as configs
from segdla.build import learning
from segdla.build.data import checked_splits, datasets, trains_on_val
from segdla.build.memory import answering_memory
from segdla.build.predictor import predictor
from segdla.checkpoint import BEST, CONFIG, occupied, read_training, save_text
from segdla.config import Config
from segdla.data.dataset import Classes
from segdla.data.loader import TrainingKeys, training_batches
from segdla.engine.graph import Recorded
from segdla.engine.state import Plan, Training
from segdla.errors import UserError
from segdla.inference.predictors import in_precision
from segdla.models.macs import count_macs
from segdla.models.weights import load_weights, read_state_dict
from segdla.report import RunLog, console


def resume_from(run: Path, state: dict[str, Any], training: Training) -> None:
    """Bring a training to the state in which the run ended. Raises UserError where it does not fit."""
    try:
        for name, now in training.stream.items():
            if (before := state["stream"].get(name, now)) != now:
                raise UserError(
                    f"{name} is {now}, and was {before} when {run} was saved: it would not be the same run that goes "
                    f"on; resume it as it was, or start a new one from its weights with model.weights={run / BEST}"
                )
        training.load_state_dict(state)
    except (torch.OutOfMemoryError, UserError):
        raise
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"the state of {run} does not fit the config; resume without changing model, data or train.optimizer "
            f"({str(error).splitlines()[0].rstrip(':')})"
        ) from error
    if not (run / BEST).exists():  # whatever its score was, there are no weights of it
        training.best = -1.0


def memory_remedy(config: Config) -> str:
    t, (height, width) = config.train, config.data.crop
    graph = ", or set train.cuda_graph=false (a graph keeps a step's memory)" if t.cuda_graph else ""
    return (
        f"raise train.accumulate (now {t.accumulate}: the step in smaller parts), or lower data.crop (now "
        f"{height}x{width}) or train.batch_size (now {t.batch_size}){graph}; while validating, set "
        f"eval.window=[512, 512], or lower eval.batch_size (now {config.eval.batch_size})"
    )


def summary(
    config: Config, plan: Plan, training: Training, num_images: tuple[int, int], classes: Classes, how: Sequence[str]
) -> str:
    """What is about to happen, in five lines."""
    m, t, (height, width) = config.model, config.train, config.data.crop
    parameters = sum(p.numel() for p in training.model.parameters())
    parts = distributed.world_size() * t.accumulate
    dealt = f" (in {parts} parts of {t.batch_size // parts})" if parts > 1 else ""
    from_step = f", from step {training.step} on" if training.step else ""
    validated = "of them to validate, which then says nothing" if trains_on_val(config) else "to validate"
    return (
        f"{m.backbone}, output stride {m.output_stride}, {len(classes)} classes: {parameters / 1e6:.2f} M parameters, "
        f"{count_macs(training.model, height, width) / 1e9:.2f} GMAC for a crop of {height}x{width}\n"
        f"{distributed.world_size()} x {_device_name(plan.device)}, "
        f"{build.computed_in(t.precision, plan.precision, plan.device)}"
        f"{''.join(f', {word}' for word in how)}\n"
        f"{classes.protocol or config.data.dataset}: {num_images[0]} images to train on, {num_images[1]} {validated} "
        f"(python tools/check_data.py CONFIG examines them all)\n"
        f"{t.epochs} epochs of {plan.steps_per_epoch} steps of {t.batch_size} images{dealt}: {plan.num_steps} steps"
        f"{from_step}\n"
        f"everything goes to {plan.run}/"
    )


def _device_name(on: torch.device) -> str:
    if on.type == "cuda":
        return torch.cuda.get_device_name(on)
    return f"{on} with {torch.get_num_threads()} threads" if on.type == "cpu" else str(on)


def open_run(config: Config, run: Path, resume: bool) -> str | None:
    """Make a run's folder, with its config; returns the one that was there, to ``resume``.

    Raises UserError where it is taken or can't be made.
    """
    try:
        before = (run / CONFIG).read_text(encoding="utf-8") if resume else None
        run.mkdir(parents=True, exist_ok=resume)
    except FileExistsError:
        raise UserError(f"{run} was made by another run just now; choose another --name") from None
    except OSError as error:
        raise UserError(f"cannot write {run}: {error.strerror}; choose another --runs, or make room") from error
    try:
        save_text(run / CONFIG, configs.dump(config))
    except UserError:
        if not resume:
            run.rmdir()
        raise
    return before


def train(config: Config, run: Path, resume: bool) -> bool:
    """Train in the folder ``run``; True when it got to the end, False when a signal stopped it.

    Nothing is written before data, network and (with ``resume``) training state are all there; what takes long, to
    decode or count a data set, comes after all that can be wrong without it.
    """
    t, world_size = config.train, distributed.world_size()
    if t.batch_size % (world_size * t.accumulate):
        raise UserError(
            f"train.batch_size {t.batch_size} can't be dealt out evenly to {world_size} processes in {t.accumulate} "
            f"parts each (train.accumulate); make it a multiple of {world_size * t.accumulate}"
        )
    if t.batch_size == world_size * t.accumulate and max(config.data.crop) <= 32:
        raise UserError(
            f"parts of one image of {config.data.crop[0]}x{config.data.crop[1]} (data.crop) are too small for batch "
            "normalisation, of whose deepest maps they are one pixel; raise data.crop or train.batch_size"
        )
    if t.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    on = build.device(t.device)
    with answering_memory(config, on, memory_remedy(config)), ExitStack() as kept:
        if resume:
            distributed.on_main(lambda: kept.enter_context(occupied(run)))
        return _train(config, on, run, resume, kept)


def _train(config: Config, on: torch.device, run: Path, resume: bool, kept: ExitStack) -> bool:
    t, rank, world_size = config.train, distributed.rank(), distributed.world_size()
    computing = build.precision(t.precision, on)
    torch.manual_seed(t.seed)
    training_split, validation_split = checked_splits(config)
    classes = training_split.classes
    network = build.model(config, len(classes))
    state = distributed.on_main(lambda: read_training(run)) if resume else None  # None: it ended before it had any
    if config.model.weights and state is None:
        given = config.model.weights
        if load_weights(network, read_state_dict(given), given, other_classes=True) and distributed.is_main():
            console.print(f"{given} is of another number of classes: the classifier starts afresh", soft_wrap=True)
    network = learning.prepared(network, t, on)

    steps_per_epoch = -(-len(training_split) // t.batch_size)
    plan = Plan(
        run=run,
        device=on,
        num_steps=t.epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        precision=computing,
        accumulate=t.accumulate,
        clip_norm=t.clip_norm,
        skip_nonfinite=t.skip_nonfinite,
        seed=t.seed,
        eval_every=t.eval_every,
        trains_on_val=trains_on_val(config),
        report_every=t.report_every,
        save_every=t.save_every,
    )
    training = learning.start(t, network, plan)
    training.stream = {
        "train.batch_size": t.batch_size,
        "train.seed": t.seed,
        "training images": len(training_split),
        "classes": list(classes.names),
        "protocol": classes.protocol,
        "model.weights": config.model.weights,
        "model.mean": list(config.model.mean),
        "model.std": list(config.model.std),
    }
    if state is not None:
        resume_from(run, state, training)
        if training.evaluated >= plan.num_steps or training.step > plan.num_steps:
            done = -(-training.step // steps_per_epoch)
            raise UserError(
                f"{run} has done its {t.epochs} epochs; to go on, add train.epochs={2 * max(t.epochs, done)}"
            )
    learner = learning.compiled(network, on) if t.compile else network
    dataset, validation = datasets(config, training_split, validation_split)
    objective = learning.loss(config.loss, dataset.source, on, config.data.unreadable == "skip")
    gradients = learning.gradients(t, training, distributed.replicated(learner, on), objective, plan)
    card = {
        "config": config.model_dump(mode="json"),
        "classes": classes.names,
        "palette": classes.palette,
        "protocol": classes.protocol,
        "version": __version__,
    }
    if distributed.is_main():
        num_images = (len(dataset), len(validation))
        forms = {"compiled": learner is not network, "as one CUDA graph": isinstance(gradients, Recorded)}
        how = [form for form, holds in forms.items() if holds]
        console.print(summary(config, plan, training, num_images, classes, how), soft_wrap=True)
        if plan.num_steps <= t.warmup_steps:
            console.print(
                f"train.warmup_steps is {t.warmup_steps} of {plan.num_steps} steps: the learning rate never gets to "
                "train.lr",
                soft_wrap=True,
            )
    config_before = distributed.on_main(lambda: open_run(config, run, resume))
    first_step = training.step
    if not resume:
        distributed.on_main(lambda: kept.enter_context(occupied(run)))
    keys = TrainingKeys(
        len(dataset),
        t.batch_size,
        plan.num_steps,
        t.seed,
        training.step,
        accumulate=t.accumulate,
        rank=rank,
        world_size=world_size,
    )
    try:
        log = (
            RunLog(run, classes.names, classes.palette, training.step, training.evaluated, plan.num_steps)
            if distributed.is_main()
            else nullcontext()
        )
        with log as entered:
            return engine.train(
                training,
                gradients,
                training_batches(dataset, keys, build.num_workers(config), on.type == "cuda"),
                build.whole_images(config, validation, on),
                predictor(in_precision(training.kept.logits, on, computing), config.model.output_stride, config.eval),
                entered,
                card,
                plan,
            )
    except Exception:
        if distributed.is_main() and training.step == first_step:  # nothing came of it: all is as it was before
            if config_before is None:
                shutil.rmtree(run)
            else:
                save_text(run / CONFIG, config_before)
        raise
