"""The loop: train, evaluate, log, save."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from segdla.checkpoint import BEST, LAST, save_training, save_weights
from segdla.data.loader import Batch, WholeImages
from segdla.errors import UserError
from segdla.evaluation import evaluate
from segdla.inference import Predictor
from segdla.report import RunLog
from segdla.scores import classify
from segdla.stop import StopSignal, until_stopped

_NUM_SAMPLES = 4  # pictures of an evaluation


@dataclass
class Training:
    """What changes while a network trains, and so what a resumed run starts from.

    ``schedule`` gives the share of the learning rate at a step; what it and the optimizer's settings are is the
    config's to say, also for a resumed run, so that neither is part of the state.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float]
    step: int = 0
    evaluated: int = 0  # the last step after which there was an evaluation
    best: float = -1.0  # mIoU

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "step": self.step,
            "evaluated": self.evaluated,
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state["optimizer"]})
        self.step = state["step"]
        self.evaluated = state["evaluated"]
        self.best = state["best"]

    def scheduler(self) -> LambdaLR:
        """The schedule, from this step on."""
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        return LambdaLR(self.optimizer, self.schedule, last_epoch=self.step - 1)


def in_precision(model: nn.Module, device: torch.device, precision: str) -> Predictor:
    """The model as a function from images to float32 logits, computed in fp32 or, autocast, in bf16."""

    def forward(images: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return model(images).float()

    return forward


def train(
    training: Training,
    forward: Predictor,
    loss: Callable[[Tensor, Tensor], Tensor],
    batches: Iterator[Batch],
    validation: WholeImages,
    log: RunLog,
    card: dict[str, Any],
    *,
    device: torch.device,
    num_steps: int,
    steps_per_epoch: int,
    eval_every: int,
    report_every: int,
) -> bool:
    """Train from ``training.step`` to ``num_steps``; True when all is done, False when a signal stopped it.

    ``batches`` go on from ``training.step``. The state to resume from is saved before and after each evaluation, so
    that neither an epoch nor an evaluation can be lost; the weights of the best mIoU are saved with ``card`` in them.
    """
    scheduler = training.scheduler()
    with StopSignal() as stop:
        while training.evaluated < num_steps and not stop.requested:
            epoch, rest = divmod(training.step, steps_per_epoch)
            due = training.step == num_steps or (rest == 0 and epoch % eval_every == 0)
            if due and training.evaluated != training.step:
                validate(training, forward, validation, log, card, device, epoch)
            else:
                to_go = min(steps_per_epoch - rest, num_steps - training.step)
                train_one_epoch(
                    training, forward, loss, scheduler, islice(batches, to_go), log, device, report_every, stop
                )
            save_training(log.folder / LAST, training.state_dict())
    return training.evaluated == num_steps


def train_one_epoch(
    training: Training,
    forward: Predictor,
    loss: Callable[[Tensor, Tensor], Tensor],
    scheduler: LambdaLR,
    batches: Iterable[Batch],
    log: RunLog,
    device: torch.device,
    report_every: int,
    stop: StopSignal,
) -> None:
    """One step a batch, until they end or a stop is requested."""
    training.model.train()
    meter = Meter(device)
    for batch in meter.timed(until_stopped(batches, stop)):
        images = batch.images.to(device, non_blocking=True)
        targets = batch.targets.to(device, non_blocking=True).long()
        value = loss(forward(images), targets)
        value.backward()
        training.optimizer.step()
        training.optimizer.zero_grad(set_to_none=True)
        lr = scheduler.get_last_lr()[0]
        scheduler.step()
        training.step += 1

        meter.add(value, len(images))
        log.advance(training.step)
        if training.step % report_every == 0:
            report(training.step, lr, meter, log)
    if meter.steps:  # before anything is saved: a state that is not finite must not replace one that is
        report(training.step, lr, meter, log)


def report(step: int, lr: float, meter: "Meter", log: RunLog) -> None:
    """Log what the meter has; raises UserError where the loss has become something else than a number."""
    values = meter.read()
    if not math.isfinite(values["loss"]):
        resume = f", and go on from the last epoch with --resume {log.folder}" if (log.folder / LAST).exists() else ""
        raise UserError(
            f"the loss is {values['loss']} at step {step}; lower train.lr (now {lr:.3g}) or raise "
            f"train.warmup_steps{resume}"
        )
    log.training(step, lr=lr, **values)


def validate(
    training: Training,
    forward: Predictor,
    images: WholeImages,
    log: RunLog,
    card: dict[str, Any],
    device: torch.device,
    epoch: int,
) -> None:
    """Score whole images, keep the weights if they are the best so far, and report."""
    samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    seen = 0

    def sample(batch: Batch, prediction: Tensor) -> None:
        nonlocal seen
        seen += len(batch.images)
        if seen * _NUM_SAMPLES > len(samples) * images.num_images:  # from all over the set: neighbours look alike
            image = batch.images[0].permute(1, 2, 0).numpy()
            samples.append((image, batch.targets[0].numpy(), prediction[0].numpy()))

    training.model.eval()
    confusion = evaluate(lambda batch: classify(forward(batch)), images, len(log.names), device, sample)
    scores = confusion.scores(log.names)
    if math.isnan(scores["mean_iou"]):
        raise UserError("the validation split has no labelled pixel, so nothing can be scored; check its masks")
    training.evaluated = training.step
    better = scores["mean_iou"] > training.best
    if better:
        training.best = scores["mean_iou"]
        scored = {"split": "val", "protocol": card["protocol"], **scores}
        card = {**card, "scores": scored, "step": training.step}
        save_weights(log.folder / BEST, training.model.state_dict(), card)
    log.evaluation(training.step, epoch, scores, better, samples)


class Meter:
    """Mean loss, images a second and the share of time spent waiting for data, since the last reading.

    The loss is added up on the device: asking for it at every step would make the host wait for the device.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._reset()

    def _reset(self) -> None:
        self.loss, self.steps, self.images, self.waited = torch.zeros((), device=self.device), 0, 0, 0.0
        self.started = time.perf_counter()

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        iterator = iter(batches)
        while True:
            asked = time.perf_counter()
            batch = next(iterator, None)
            if batch is None:
                return
            self.waited += time.perf_counter() - asked
            yield batch

    def add(self, loss: Tensor, num_images: int) -> None:
        self.loss += loss.detach()
        self.steps += 1
        self.images += num_images

    def read(self) -> dict[str, float]:
        loss = (self.loss / self.steps).item()  # waits for the device, so that the clock below is true
        seconds = time.perf_counter() - self.started
        report = {
            "loss": loss,
            "images_per_second": self.images / seconds,
            "data_wait": self.waited / seconds,
        }
        self._reset()
        return report
