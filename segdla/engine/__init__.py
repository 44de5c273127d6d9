"""The loop: train, evaluate, log, save."""

import math
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segdla import distributed
from segdla.checkpoint import BEST, LAST, plain, save_training, save_weights
from segdla.data.loader import Batch, WholeImages
from segdla.engine.meter import Meter
from segdla.engine.state import Plan, Training
from segdla.engine.step import Gradients, take_step
from segdla.engine.stop import StopSignal, until_stopped
from segdla.errors import UserError
from segdla.evaluation import evaluate
from segdla.inference.predictors import Predictor
from segdla.report import RunLog, console

_NUM_SAMPLES = 4  # pictures of an evaluation
_SMALLEST_SCALE = 1e-3  # of fp16's loss; it starts at 65536 and is halved when a gradient overflows


def train(
    training: Training,
    gradients: Gradients,
    batches: Iterable[Batch],
    validation: WholeImages,
    segment: Predictor,
    log: RunLog | None,
    card: dict[str, Any],
    plan: Plan,
) -> bool:
    """Train from ``training.step`` to ``plan.num_steps``; True when all is done, False when a signal stopped it.

    ``gradients`` are those of ``training.model``. ``batches`` go on from ``training.step``, ``plan.accumulate`` of them
    a step. ``segment`` makes class ids of validation images, by ``training.kept``. The state to resume from is saved
    every ``plan.save_every`` steps, before and after each evaluation, and before an unreadable image's UserError is
    raised, so that none of that can be lost; the weights of the best mIoU, or the last, are saved with ``card`` in
    them. ``log`` is None in all but one of several processes: it writes, they compute.
    """
    steps = zip(*[iter(batches)] * plan.accumulate, strict=True)
    with StopSignal() as stop:
        while training.evaluated < plan.num_steps and not stop.agreed():
            done = training.step % (plan.eval_every * plan.steps_per_epoch)  # steps since an evaluation was due
            if training.evaluated != training.step and (done == 0 or training.step == plan.num_steps):
                try:
                    validate(training, validation, segment, log, card, plan)
                except RuntimeError:
                    if not stop.requested:  # else the signal went to the loader's workers too, and they are gone
                        raise
                    break  # the state was saved before
            else:
                to_go = min(
                    plan.eval_every * plan.steps_per_epoch - done,
                    plan.num_steps - training.step,
                    plan.save_every - training.step % plan.save_every,
                )
                train_steps(training, gradients, islice(steps, to_go), log, plan, stop)
            distributed.on_main(lambda: save_training(plan.run / LAST, training.state_dict()))
            if stop.error is not None:
                if training.step > 0 and distributed.is_main():
                    console.print(f"step {training.step} is saved; go on with --resume {plan.run}", soft_wrap=True)
                raise stop.error
    return training.evaluated == plan.num_steps


def train_steps(
    training: Training,
    gradients: Gradients,
    steps: Iterable[tuple[Batch, ...]],
    log: RunLog | None,
    plan: Plan,
    stop: StopSignal,
) -> None:
    """One optimizer step for each tuple of batches, until they end or stop (``until_stopped``).

    Ends in a state that is good to resume from, or raises UserError.
    """
    training.model.train()
    search_fastest(not torch.are_deterministic_algorithms_enabled())
    meter = Meter()
    for parts in until_stopped(meter.timed(steps), stop):
        # So that what a network draws, for dropout, depends on nothing that went before.
        torch.manual_seed(np.random.SeedSequence((plan.seed, training.step, distributed.rank())).generate_state(1)[0])
        training.set_lr()
        value, finite = take_step(training, gradients, parts, plan)
        training.step += 1
        if finite:
            meter.add(value, parts)
        else:
            leave_out(training, parts, plan)
        if log is not None:
            log.advance(training.step)
        if training.step % plan.report_every == 0:
            report(training, meter, log, plan)
    report(training, meter, log, plan)
    if not training.is_finite():
        raise UserError(f"a weight is no number any more after step {training.step}; {_remedy(training, plan)}")


def search_fastest(wanted: bool) -> None:
    """Whether CUDA tries every algorithm on a new size of image: crops have one size, whole images any number."""
    torch.backends.cudnn.benchmark = wanted


def report(training: Training, meter: Meter, log: RunLog | None, plan: Plan) -> None:
    """Log what the meter has; raises UserError where a loss is not finite."""
    if not meter.losses:
        return
    unreadable = meter.unreadable
    losses, names, speed = meter.read()
    if "unreadable" in speed:
        for message in (message for messages in distributed.gathered(unreadable) for message in messages):
            console.print(f"left out: {message}", soft_wrap=True)
    for value, images in zip(losses, names, strict=True):
        if not math.isfinite(value):
            raise UserError(f"the loss is {value} on {_together(images)}; {_remedy(training, plan)}")
    if training.scaler.is_enabled() and training.scaler.get_scale() < _SMALLEST_SCALE:
        raise UserError(
            f"fp16 overflows at step after step (the loss scale is down to {training.scaler.get_scale():.1g}); set "
            f"train.precision to bf16 or fp32, or {_remedy(training, plan)}"
        )
    if log is not None:
        log.training(training.step, loss=float(np.mean(losses)), lr=training.lr_at(training.step - 1), **speed)


def leave_out(training: Training, parts: tuple[Batch, ...], plan: Plan) -> None:
    """Count a step that was not taken. Raises UserError where there were too many."""
    training.skipped += 1
    images = _together([name for part in parts for name in part.names])
    if training.skipped > plan.skip_nonfinite:
        raise UserError(
            f"loss or gradient is not finite on {images}, and {plan.skip_nonfinite} steps were left out already "
            f"(train.skip_nonfinite); {_remedy(training, plan)}"
        )
    if distributed.is_main():
        console.print(f"step {training.step} left out: loss or gradient not finite on {images}", soft_wrap=True)


def _together(names: list[str]) -> str:
    """The names of every process, or the first of them."""
    everyone = [name for names in distributed.gathered(names) for name in names]
    more = f" and {len(everyone) - 16} more" if len(everyone) > 16 else ""
    return ", ".join(everyone[:16]) + more


def _remedy(training: Training, plan: Plan) -> str:
    words = (
        f"lower train.lr (now {training.optimizer.defaults['lr']:.3g}), raise train.warmup_steps or set train.clip_norm"
    )
    if (plan.run / LAST).exists():
        words += f", and go on from the last state that was good with --resume {plan.run}"
    return words


def validate(
    training: Training,
    images: WholeImages,
    segment: Predictor,
    log: RunLog | None,
    card: dict[str, Any],
    plan: Plan,
) -> None:
    """Score whole images, keep the weights if they are the best so far, or the last are wanted, and report."""
    samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    seen = 0

    def sample(batch: Batch, prediction: Tensor) -> None:
        nonlocal seen
        seen += len(batch.images)
        if seen * _NUM_SAMPLES > len(samples) * images.num_images:  # from all over the set: neighbours look alike
            image = batch.images[0].permute(1, 2, 0).numpy()
            samples.append((image, batch.targets[0].numpy(), prediction[0].numpy()))

    network = training.kept.eval()
    search_fastest(False)
    distributed.share_buffers(network)
    names = card["classes"]
    confusion = evaluate(segment, images, len(names), plan.device, sample if log is not None else None)
    scores = confusion.scores(names)
    if math.isnan(scores["mean_iou"]):
        raise UserError("the validation split has no labelled pixel, so nothing can be scored; check its masks")
    training.evaluated = training.step
    better = scores["mean_iou"] > training.best
    training.best = max(training.best, scores["mean_iou"])

    def keep() -> None:
        if better or plan.trains_on_val:
            split = "val, trained on" if plan.trains_on_val else "val"
            scored = {"split": split, "protocol": card["protocol"], **plain(scores)}
            save_weights(plan.run / BEST, network.state_dict(), {**card, "scores": scored, "step": training.step})
        log.evaluation(training.step, training.step // plan.steps_per_epoch, scores, better, samples)

    distributed.on_main(keep)
