"""The loop: train, evaluate, log, save."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segdla.checkpoint import BEST, LAST, save_training, save_weights
from segdla.data.loader import Batch, WholeImages
from segdla.errors import UserError
from segdla.inference import Predictor, classify
from segdla.metrics import ConfusionMatrix
from segdla.report import RunLog

_NUM_SAMPLES = 4  # pictures of an evaluation


@dataclass
class Training:
    """What changes while a network trains, and so what a resumed run starts from."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    step: int = 0
    best: float = -1.0  # mIoU

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "step": self.step,
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.step = state["step"]
        self.best = state["best"]


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
    """Train from ``training.step`` to ``num_steps``; True when it got there, False when a signal stopped it.

    ``batches`` go on from ``training.step``. After each epoch the run's folder holds the state to resume from, and the
    weights of the best mIoU with ``card`` in them.
    """
    with StopSignal() as stop:
        while training.step < num_steps and not stop.requested:
            epoch = training.step // steps_per_epoch + 1
            to_go = min(epoch * steps_per_epoch, num_steps) - training.step
            train_one_epoch(training, forward, loss, islice(batches, to_go), log, device, report_every, stop)
            if training.step == num_steps or (epoch % eval_every == 0 and not stop.requested):
                validate(training, forward, validation, log, card, device, epoch)
            save_training(log.folder / LAST, training.state_dict())
    return training.step == num_steps


def train_one_epoch(
    training: Training,
    forward: Predictor,
    loss: Callable[[Tensor, Tensor], Tensor],
    batches: Iterable[Batch],
    log: RunLog,
    device: torch.device,
    report_every: int,
    stop: "StopSignal",
) -> None:
    """One step a batch, until they end or a stop is requested."""
    training.model.train()
    meter = Meter(device)
    for batch in meter.timed(batches):
        images = batch.images.to(device, non_blocking=True)
        targets = batch.targets.to(device, non_blocking=True).long()
        value = loss(forward(images), targets)
        value.backward()
        training.optimizer.step()
        training.optimizer.zero_grad(set_to_none=True)
        lr = training.scheduler.get_last_lr()[0]
        training.scheduler.step()
        training.step += 1

        meter.add(value, len(images))
        log.advance(training.step)
        if training.step % report_every == 0:
            report = meter.read()
            if not math.isfinite(report["loss"]):
                raise UserError(
                    f"the loss is {report['loss']} at step {training.step}; lower train.lr (now {lr:.3g}) or raise "
                    f"train.warmup_steps, and go on from the last epoch with --resume {log.folder}"
                )
            log.training(training.step, lr=lr, **report)
        if stop.requested:
            return


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
    training.model.eval()
    confusion = ConfusionMatrix(len(log.names), device)
    samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    seen = 0
    for batch, prediction in predictions(forward, images, device):
        confusion.update(prediction, batch.targets.to(device, non_blocking=True))
        seen += len(batch.images)
        if seen * _NUM_SAMPLES > len(samples) * images.num_images:  # from all over the set: neighbours look alike
            image = batch.images[0].permute(1, 2, 0).numpy()
            samples.append((image, batch.targets[0].numpy(), prediction[0].cpu().numpy()))
    scores = confusion.scores(log.names)
    better = scores["mean_iou"] > training.best
    if better:
        training.best = scores["mean_iou"]
        card = {**card, "scores": {"split": "val", **scores}, "step": training.step}
        save_weights(log.folder / BEST, training.model.state_dict(), card)
    log.evaluation(training.step, epoch, scores, better, samples)


def evaluate(predict: Predictor, batches: Iterable[Batch], num_classes: int, device: torch.device) -> ConfusionMatrix:
    """The confusion matrix of a predictor over whole images, counted on the device."""
    confusion = ConfusionMatrix(num_classes, device)
    for batch, prediction in predictions(predict, batches, device):
        confusion.update(prediction, batch.targets.to(device, non_blocking=True))
    return confusion


@torch.inference_mode()
def predictions(predict: Predictor, batches: Iterable[Batch], device: torch.device) -> Iterator[tuple[Batch, Tensor]]:
    """Each batch with its class ids (B,H,W) uint8, on the device."""
    for batch in batches:
        yield batch, classify(predict(batch.images.to(device, non_blocking=True)))


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


class StopSignal:
    """While entered, the first SIGINT or SIGTERM asks for a stop after the running step; a second one is obeyed."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: Any) -> None:
        self.requested = True
        signal.signal(number, self._previous[number])
