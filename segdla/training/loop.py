"""The loop: train, evaluate, log, save."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, takewhile
from signal import Signals
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from segdla.checkpoints.checkpoint import BEST, Card, write_checkpoint
from segdla.data.loader import Batch
from segdla.errors import UserError, in_shell
from segdla.evaluation.count import count_batches
from segdla.evaluation.criterion import Counts
from segdla.evaluation.evaluator import Prediction
from segdla.machine import distributed
from segdla.machine.terminal import say
from segdla.training.log import RunLog
from segdla.training.meter import Meter
from segdla.training.saver import Saver
from segdla.training.state import LAST, Plan, Training
from segdla.training.step import Gradients, seed_step, take_step
from segdla.training.stop import StopSignal, say_why_it_ended, until_stopped

_NUM_SAMPLES = 4  # pictures of an evaluation
_NAMED = 16  # images in a message
_SMALLEST_SCALE = 1e-3  # of fp16's loss; it starts at 65536 and is halved when a gradient overflows


class Images(Protocol):
    """Batches of whole images, of which this process has ``num_images``; ``WholeImages`` are."""

    num_images: int

    def __iter__(self) -> Iterator[Batch]: ...


Samples = Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
"""A few images (H,W,3), with their targets and predictions as they are counted."""


class Validation(NamedTuple):
    """Whole images to score, how they are answered, counted and drawn, and the card of the weights to keep."""

    images: Images
    class_ids: Callable[[Tensor], Tensor]  # (B,3,H,W) uint8 to those of a ``Prediction``, by ``training.candidate``
    card: Card
    counts: Callable[[], Counts]  # a new one for each evaluation
    picture: Callable[[Samples], np.ndarray]


def train(
    training: Training,
    gradients: Gradients,
    batches: Iterable[Batch],
    validation: Validation,
    log: RunLog | None,
    plan: Plan,
) -> Signals | None:
    """Train from ``training.step`` to ``plan.num_steps``; return the signal that stopped it, or None.

    All is done when the plan is, and when ``plan.patience`` evaluations in a row gave no better score.

    ``gradients`` are those of ``training.model``. ``batches`` start at ``training.step``, with ``plan.accumulate`` of
    them a step. ``log`` is None in all but the main process.

    The state to resume from is saved every ``plan.save_every`` steps, before and after each evaluation, and before the
    UserError of an unreadable image is raised; a thread writes it, and the last one is on the disk on return. The
    weights of the best score, or the last ones, are kept.
    """
    with StopSignal() as stop, Saver(plan.run, None if log is None else log.saved) as saver:
        gradients = saver.while_copying(gradients)
        steps = saver.until_failed(zip(*[iter(batches)] * plan.accumulate, strict=True))
        while not training.has_ended(plan) and not stop.agreed():
            done = training.step % (plan.eval_every * plan.steps_per_epoch)  # steps since an evaluation was due
            if training.evaluated != training.step and (done == 0 or training.step == plan.num_steps):
                try:
                    validate(training, validation, log, plan, stop)
                except RuntimeError:
                    if not stop.requested:  # else the signal reached the loader's workers too, and killed them
                        raise
                    break  # the state has been saved
            else:
                to_go = min(
                    plan.eval_every * plan.steps_per_epoch - done,
                    plan.num_steps - training.step,
                    plan.save_every - training.step % plan.save_every,
                )
                train_steps(training, gradients, islice(steps, to_go), log, plan, stop)
            distributed.on_main(lambda: saver.save(training))
            if stop.error is not None:
                distributed.on_main(saver.settle)
                if training.step > 0 and distributed.is_main():
                    say(f"step {training.step} is saved; resume it with: segdla train --resume {in_shell(plan.run)}")
                raise stop.error
        distributed.on_main(saver.settle)
    if distributed.is_main():
        say_why_it_ended(training, plan, stop, validation.card.classes.measure)
    return None if training.has_ended(plan) else stop.signal


def train_steps(
    training: Training,
    gradients: Gradients,
    steps: Iterable[tuple[Batch, ...]],
    log: RunLog | None,
    plan: Plan,
    stop: StopSignal,
) -> None:
    """Take one optimizer step for each tuple of batches, until they end or a stop is requested (``until_stopped``).

    The state is then good to resume from. Raises UserError if loss or weights are not finite.
    """
    training.model.train()
    search_fastest(not torch.are_deterministic_algorithms_enabled())
    meter = Meter()
    for parts in until_stopped(meter.timed(steps), stop):
        seed_step(training, plan)
        training.set_lr()
        value, finite = take_step(training, gradients, parts, plan)
        training.step += 1
        distributed.now_at(f"{training.step} steps done")
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
        raise UserError(f"a weight is not finite after step {training.step}; {_remedy(training, plan)}")


def search_fastest(enabled: bool) -> None:
    """Let cuDNN try every algorithm on each new size of image, or not: crops have one size, whole images have many."""
    torch.backends.cudnn.benchmark = enabled


def report(training: Training, meter: Meter, log: RunLog | None, plan: Plan) -> None:
    """Log the meter's reading. Raises UserError if a loss is not finite, or fp16 overflows at every step."""
    if not meter.losses:
        return
    messages = meter.unreadable
    reading = meter.read()
    if reading.unreadable:
        for message in (message for process in distributed.gathered(messages) for message in process):
            say(f"left out: {message}")
    for loss, names in zip(reading.losses, reading.names, strict=True):
        if not math.isfinite(loss):
            raise UserError(f"the loss is {loss} on {_all_names(names)}; {_remedy(training, plan)}")
    if training.scaler.is_enabled() and training.scaler.get_scale() < _SMALLEST_SCALE:
        raise UserError(
            f"fp16 overflows at step after step (the loss scale is down to {training.scaler.get_scale():.1g}); set "
            f"train.precision to bf16 or fp32, or {_remedy(training, plan)}"
        )
    if log is not None:
        log.training(training.step, training.lr_at(training.step - 1), reading)


def leave_out(training: Training, parts: tuple[Batch, ...], plan: Plan) -> None:
    """Count a step that was not taken. Raises UserError if there were too many."""
    training.skipped += 1
    images = _all_names([name for part in parts for name in part.names])
    if training.skipped > plan.skip_nonfinite:
        raise UserError(
            f"loss or gradient is not finite on {images}, and {plan.skip_nonfinite} steps were left out already "
            f"(train.skip_nonfinite); {_remedy(training, plan)}"
        )
    if distributed.is_main():
        say(f"step {training.step} left out: loss or gradient not finite on {images}")


def _all_names(names: list[str]) -> str:
    """Join the names of all processes, or the first few of them."""
    together = [name for process in distributed.gathered(names) for name in process]
    more = f" and {len(together) - _NAMED} more" if len(together) > _NAMED else ""
    return ", ".join(together[:_NAMED]) + more


def _remedy(training: Training, plan: Plan) -> str:
    """Return what to do against numbers that are not finite."""
    words = (
        f"lower train.lr (now {training.optimizer.defaults['lr']:.3g}), raise train.warmup_steps or set train.clip_norm"
    )
    if (plan.run / LAST).exists():
        words += f", and resume from the last state that was good (--resume {in_shell(plan.run)})"
    return words


def validate(
    training: Training,
    validation: Validation,
    log: RunLog | None,
    plan: Plan,
    stop: StopSignal,
    *,
    is_rehearsal: bool = False,
) -> None:
    """Score the validation images, report, and keep the weights if they are the best so far, or the last are kept.

    Nothing changes if a signal comes: there may be less time than the images take.

    Raises UserError if they have no labelled pixel, which the few images of a rehearsal need not have.
    """
    images, class_ids, card, _, picture = validation
    samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    num_seen = 0

    def sample(batch: Batch, prediction: Tensor) -> None:
        nonlocal num_seen
        num_seen += len(batch.images)
        if num_seen * _NUM_SAMPLES > len(samples) * images.num_images:  # from all over the set: neighbours look alike
            samples.append((batch.images[0].permute(1, 2, 0).numpy(), batch.targets[0].numpy(), prediction[0].numpy()))

    distributed.now_at(f"the evaluation after step {training.step}")
    network = training.candidate.eval()
    search_fastest(False)
    distributed.share_buffers(network)
    classes = card.classes
    counts = validation.counts()
    keep_samples = sample if log is not None else None
    until_signal = takewhile(lambda _: not stop.requested, images)
    count_batches(lambda batch: Prediction(class_ids(batch)), until_signal, [counts], plan.device, keep_samples)
    if stop.agreed():
        return
    scores = counts.scores(classes.names, split="val", protocol=classes.protocol)
    if math.isnan(scores.criterion) and not is_rehearsal:
        raise UserError(scores.unscored)
    training.evaluated = training.step
    is_best = scores.criterion > training.best
    training.best = max(training.best, scores.criterion)
    training.waited = 0 if is_best else training.waited + 1

    def keep_and_report() -> None:
        if is_best or plan.trains_on_val:
            final_card = replace(card, scores=scores, step=training.step, trained_on_val=plan.trains_on_val)
            write_checkpoint(plan.run / BEST, network.state_dict(), final_card)
        assert log is not None, "the main process has a log"
        log.evaluation(training.step, training.step // plan.steps_per_epoch, scores, is_best, picture(samples))

    distributed.on_main(keep_and_report)
