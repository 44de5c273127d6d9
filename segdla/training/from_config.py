"""From the config to training: loss, optimizer, schedule, plan, and the form in which the network trains."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim.swa_utils import AveragedModel

from segdla.config import Config, DataConfig, HeadName, LossConfig, TrainConfig, WholeImagesConfig
from segdla.data.source import NO_LABEL, Classes, Source
from segdla.errors import UserError
from segdla.machine import distributed
from segdla.machine.device import Machine, device_name
from segdla.models.from_config import memory_format, normalisation
from segdla.models.macs import count_macs
from segdla.training import losses
from segdla.training.budget.time_budget import UNKNOWN, length_in_words
from segdla.training.cuda_graph import as_graph
from segdla.training.forecast import Forecast, remedy_of_length
from segdla.training.log import RunLog
from segdla.training.losses import Objective
from segdla.training.mix import Mix
from segdla.training.own.parts import Data, Loss, Own
from segdla.training.state import Plan, Training, moving_average
from segdla.training.step import Gradients, gradients_of
from segdla.training.teacher.student import Student
from segdla.training.weigh_classes import weigh_classes

LOSSES: dict[HeadName, dict[str, Callable[[LossConfig, Tensor | None], Loss]]] = {
    "softmax": {
        "cross_entropy": lambda c, weights: partial(
            losses.cross_entropy, weights=weights, label_smoothing=c.label_smoothing
        ),
        "ohem": lambda c, weights: partial(
            losses.ohem, weights=weights, threshold=c.ohem_threshold, min_kept=c.ohem_min_kept
        ),
        "dice": lambda c, weights: losses.dice,
        "lovasz": lambda c, weights: losses.lovasz,
        "boundary": lambda c, weights: losses.boundary,
    },
    "sigmoid": {
        "cross_entropy": lambda c, weights: partial(
            losses.binary_cross_entropy, weights=weights, label_smoothing=c.label_smoothing
        ),
        "dice": lambda c, weights: losses.binary_dice,
        "focal": lambda c, weights: partial(losses.focal, weights=weights, gamma=c.focal_gamma),
    },
}

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda groups, t, fused: torch.optim.SGD(groups, t.lr, t.momentum, fused=fused),
    "adamw": lambda groups, t, fused: torch.optim.AdamW(groups, t.lr, t.betas, fused=fused),
}

# From the config, the share of the run that is done and the epoch to a share of the learning rate.
SCHEDULES: dict[str, Callable[[TrainConfig, float, int], float]] = {
    "poly": lambda t, done, epoch: (1 - done) ** t.power,
    "cosine": lambda t, done, epoch: (1 + math.cos(math.pi * done)) / 2,
    "step": lambda t, done, epoch: t.gamma ** bisect_right(sorted(t.milestones), epoch),
}


def build_loss(
    config: LossConfig, source: Source, device: torch.device, may_skip: bool = False, head: HeadName = "softmax"
) -> Objective:
    """Return the config's loss over logits (B,C,H,W) and targets (B,H,W): the sum of its terms for a head.

    ``source`` is counted for class weights; with ``may_skip``, masks that can't be read are left out.
    """
    weights = weigh_classes(config.class_weights, source, may_skip=may_skip)
    tensor = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)
    if source.classes.of_nothing:
        return Objective([(0.0, lambda logits, targets: logits.sum())], None, NO_LABEL)
    if source.classes.whole_images:
        smoothing = config.label_smoothing
        loss = partial(losses.cross_entropy, weights=tensor, label_smoothing=smoothing, ignore_index=NO_LABEL)
        return Objective([(config.cross_entropy, loss)], tensor, NO_LABEL)
    terms = [(getattr(config, name), loss(config, tensor)) for name, loss in LOSSES[head].items()]
    return Objective([(share, loss) for share, loss in terms if share], tensor)


def build_mix(data: DataConfig, classes: Classes) -> Mix | None:
    """Return how the images of a batch are mixed with each other; None if they aren't."""
    if not isinstance(data, WholeImagesConfig) or not (data.augment.mixup or data.augment.cutmix):
        return None
    return Mix(data.augment.mixup, data.augment.cutmix, len(classes))


def schedule(t: TrainConfig, num_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    """Return the share of the learning rate by step: the config's schedule times a linear warm-up from 1 %."""
    decay = SCHEDULES[t.schedule]

    def share(step: int) -> float:
        warmup = min(1.0, 0.01 + 0.99 * step / t.warmup_steps) if t.warmup_steps else 1.0
        return warmup * decay(t, min(step, num_steps) / num_steps, step // steps_per_epoch)

    return share


def parameter_groups(model: nn.Module, t: TrainConfig) -> list[dict]:
    """Group the parameters, with their names, by learning rate and weight decay."""
    groups: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        factor = t.backbone_lr if name.removeprefix("network.").startswith("backbone.") else t.decoder_lr
        is_bias = parameter.ndim == 1 or "bias" in name.rpartition(".")[2]  # or normalisation's; Swin's are tables
        decay = t.weight_decay if t.decay_all or not is_bias else 0.0
        groups.setdefault((t.lr * factor, decay), []).append((name, parameter))
    return [{"params": members, "lr": lr, "weight_decay": decay} for (lr, decay), members in groups.items()]


def build_training(t: TrainConfig, model: nn.Module, plan: Plan) -> Training:
    """Return the model with its optimizer, schedule, scaler and moving average, at step 0."""
    optimizer = OPTIMIZERS[t.optimizer](parameter_groups(model, t), t, fused=plan.device.type in ("cpu", "cuda"))
    for group in optimizer.param_groups:
        if group.get("momentum"):
            # Else fused SGD keeps uninitialised memory as momentum if fp16's scaler rejects the very first step.
            optimizer.state.update({p: {"momentum_buffer": torch.zeros_like(p)} for p in group["params"]})
    scaler = GradScaler(plan.device.type, enabled=plan.precision == "fp16")
    training = Training(model, optimizer, schedule(t, plan.num_steps, plan.steps_per_epoch), scaler)
    if t.ema:
        training.ema = AveragedModel(training.network, multi_avg_fn=moving_average(t.ema), use_buffers=True)
    return training


def build_gradients(
    t: TrainConfig, training: Training, learner: nn.Module, objective: Objective, plan: Plan
) -> Gradients:
    """Return the function of a step's gradients: over all devices, as a CUDA graph if the config asks for one."""
    gradients = gradients_of(training, distributed.replicated(learner, plan.device), objective, plan)
    return as_graph(gradients, training.model, plan.device) if t.cuda_graph else gradients


def prepared(model: nn.Module, t: TrainConfig, device: torch.device) -> nn.Module:
    """Return the model on its device, in the config's memory layout, with synchronised batch normalisation."""
    if t.sync_batchnorm:
        model = distributed.with_synchronised_batchnorm(model, device)
    return model.to(device, memory_format=memory_format(t.channels_last))  # type: ignore[call-overload] # torch's stub


def build_plan(config: Config, run: Path, machine: Machine, num_images: int) -> Plan:
    """Return the plan of a training run on ``num_images`` images in the folder ``run``.

    How many steps fit into ``train.minutes`` is ``UNKNOWN`` until ``fitted`` has the answer.
    """
    t = config.train
    steps_per_epoch = -(-num_images // t.images_per_step)
    return Plan(
        run=run,
        device=machine.device,
        num_steps=t.steps or (UNKNOWN if t.minutes else t.epochs * steps_per_epoch),
        steps_per_epoch=steps_per_epoch,
        precision=machine.precision,
        accumulate=t.accumulate,
        clip_norm=t.clip_norm,
        skip_nonfinite=t.skip_nonfinite,
        seed=t.seed,
        eval_every=t.eval_every,
        patience=t.patience,
        trains_on_val=config.trains_on_val,
        report_every=t.report_every,
        save_every=t.save_every,
    )


def build_log(config: Config, plan: Plan, training: Training) -> RunLog:
    """Open the reports of a run, with the forecast of its length."""
    t = config.train
    may_be_long = plan.device.type == "cpu" and t.minutes is None
    advice = remedy_of_length(plan.run, t.length, config.data.crop, config.model.backbone) if may_be_long else ""
    forecast = Forecast(training.step, plan.num_steps, plan.eval_every * plan.steps_per_epoch, advice)
    steps = training.step, training.evaluated, plan.num_steps
    return RunLog(plan.run, *steps, forecast, t.logger, config.model_dump(mode="json"), t.upload)


def stream_of(config: Config, source: Source, model: nn.Module) -> dict[str, Any]:
    """Return the facts that decide order and labels of a run's samples, by name; resuming must not change them."""
    statistics = dict(zip(("model.mean", "model.std"), map(list, normalisation(config.model)), strict=True))
    return statistics | {
        "train.batch_size": config.train.batch_size,
        "train.seed": config.train.seed,
        "training images": len(source),
        "classes": list(source.classes.names),
        "protocol": source.classes.protocol,
        "model.weights": config.model.weights,
        "the file of train.teacher": model.teacher.digits if isinstance(model, Student) else None,
    }


def require_possible(config: Config) -> None:
    """Raise UserError if a batch can't be dealt out evenly, or its parts are too small for batch normalisation."""
    t, world_size = config.train, distributed.world_size()
    if t.batch_size != "auto" and t.batch_size % (world_size * t.accumulate):
        raise UserError(
            f"train.batch_size {t.batch_size} can't be dealt out evenly to {world_size} processes in {t.accumulate} "
            f"parts each (train.accumulate); make it a multiple of {world_size * t.accumulate}"
        )
    m = config.model  # pools: each image, to one pixel
    pools = m.network == "torchvision/deeplabv3_resnet50" or "attention" in (m.node, m.backbone_node)
    if t.batch_size == world_size * t.accumulate and (pools or max(config.data.crop) <= 32):
        raise UserError(
            f"parts of one image of {config.data.crop[0]}x{config.data.crop[1]} (data.crop) are too small for batch "
            f"normalisation, which sees one pixel of them; raise {'' if pools else 'data.crop or '}train.batch_size"
        )


def memory_remedy(config: Config) -> str:
    """Return what to try when training runs out of memory."""
    t, (height, width) = config.train, config.data.crop
    graph = ", or set train.cuda_graph=false (a graph keeps a step's memory)" if t.cuda_graph else ""
    return (
        f"raise train.accumulate (now {t.accumulate}: the step in smaller parts), or lower data.crop (now "
        f"{height}x{width}) or train.batch_size (now {t.batch_size}){graph}; while validating, set "
        f"eval.window=[512, 512], or lower eval.batch_size (now {config.eval.batch_size})"
    )


def summary(config: Config, own: Own, data: Data, plan: Plan, training: Training, forms: Sequence[str]) -> str:
    """Return what is about to happen, in five lines; ``forms`` are the precision and forms that the network trains in.

    A sixth line warns of a warm-up that never ends.
    """
    m, t, (height, width) = config.model, config.train, config.data.crop
    parameters = sum(p.numel() for p in training.network.parameters())
    network = m.title if own.model is None else "own network"
    classes = data.training.classes
    images = classes.protocol or (config.data.dataset if own.source is None else "own data")
    validates = "of them to validate, which then says nothing" if config.trains_on_val else "to validate"
    doctor = " (segdla check CONFIG examines them all)" if own.source is None else ""
    parts = distributed.world_size() * t.accumulate
    lines = [
        f"{network}, {'no' if classes.of_nothing else len(classes)} classes: {parameters / 1e6:.2f} M parameters, "
        f"{count_macs(training.network, height, width) / 1e9:.2f} GMAC for a crop of {height}x{width}",
        f"{distributed.world_size()} x {device_name(plan.device)}, {', '.join(forms)}",
        f"{images}: {len(data.training)} images to train on, {len(data.validation)} {validates}{doctor}",
        length_in_words(plan, None if t.steps else t.epochs, t.images_per_step, parts, training.step),
        f"everything goes to {plan.run}/",
    ]
    if plan.num_steps <= t.warmup_steps:
        warmup = f"train.warmup_steps is {t.warmup_steps} of {plan.num_steps} steps"
        lines.append(f"{warmup}: the learning rate never gets to train.lr")
    return "\n".join(lines)
