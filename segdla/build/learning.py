"""From config to how a network learns: loss, optimizer, schedule, and the form it trains in."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim.swa_utils import AveragedModel

from segdla import distributed, losses
from segdla.build import layout
from segdla.config import LossConfig, TrainConfig
from segdla.data.dataset import Source
from segdla.data.shares import count_pixels, enet_weights, median_frequency_weights
from segdla.engine.graph import Recorded
from segdla.engine.state import Plan, Training
from segdla.engine.step import Gradients, gradients_of
from segdla.errors import UserError
from segdla.losses import Objective
from segdla.report import console, progress

LOSSES = {
    "cross_entropy": lambda c, weights: partial(
        losses.cross_entropy, weights=weights, label_smoothing=c.label_smoothing
    ),
    "ohem": lambda c, weights: partial(
        losses.ohem, weights=weights, threshold=c.ohem_threshold, min_kept=c.ohem_min_kept
    ),
    "dice": lambda c, weights: losses.dice,
    "lovasz": lambda c, weights: losses.lovasz,
    "boundary": lambda c, weights: losses.boundary,
}

OPTIMIZERS = {
    "sgd": lambda groups, t, fused: torch.optim.SGD(groups, t.lr, t.momentum, fused=fused),
    "adamw": lambda groups, t, fused: torch.optim.AdamW(groups, t.lr, fused=fused),
}

# The share of the learning rate after a share of the run, or after a number of epochs.
SCHEDULES = {
    "poly": lambda t, done, epoch: (1 - done) ** t.power,
    "cosine": lambda t, done, epoch: (1 + math.cos(math.pi * done)) / 2,
    "step": lambda t, done, epoch: t.gamma ** bisect_right(sorted(t.milestones), epoch),
}


def loss(config: LossConfig, source: Source, on: torch.device, may_skip: bool = False) -> Objective:
    """The training loss over logits (B,C,H,W) and targets (B,H,W): the sum of the config's terms.

    With ``may_skip``, masks that can't be read do not count in class weights, instead of being an error.
    """
    weights = class_weights(config, source, may_skip)
    tensor = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=on)
    shares = {name: getattr(config, name) for name in LOSSES}
    return Objective([(share, LOSSES[name](config, tensor)) for name, share in shares.items() if share], tensor)


def class_weights(config: LossConfig, source: Source, may_skip: bool = False) -> Sequence[float] | None:
    """A weight a class, as given or as counted in the training masks. Raises UserError where they don't fit."""
    given, names = config.class_weights, source.classes.names
    if isinstance(given, str):
        counting = partial(progress, description="counting pixels")
        left_out = _say_left_out if may_skip else None
        pixels, present = distributed.on_main(lambda: count_pixels(source, counting, left_out))
        found = median_frequency_weights(pixels, present) if given == "median_frequency" else enet_weights(pixels)
        if distributed.is_main():
            words = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(names, found, strict=True))
            console.print(f"class weights ({given}): {words}", soft_wrap=True)
        return found.tolist()
    if given is not None and len(given) != len(names):
        raise UserError(f"loss.class_weights has {len(given)} numbers for {len(names)} classes; give one a class")
    return given


def _say_left_out(error: UserError) -> None:
    console.print(f"left out: {error}", soft_wrap=True)


def schedule(t: TrainConfig, num_steps: int, steps_per_epoch: int) -> Callable[[int], float]:
    """The share of the learning rate in force at a step: a linear warm-up from 1 % times the config's schedule."""
    falling = SCHEDULES[t.schedule]

    def share(step: int) -> float:
        warmup = min(1.0, 0.01 + 0.99 * step / t.warmup_steps) if t.warmup_steps else 1.0
        return warmup * falling(t, min(step, num_steps) / num_steps, step // steps_per_epoch)

    return share


def parameter_groups(network: nn.Module, t: TrainConfig) -> list[dict]:
    """Parameters by learning rate and weight decay, with their names."""
    groups: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in network.named_parameters():
        factor = t.backbone_lr if name.startswith("backbone.") else t.decoder_lr
        decayed = t.decay_all or parameter.ndim > 1  # batch normalisation and biases have one dimension
        groups.setdefault((t.lr * factor, t.weight_decay if decayed else 0.0), []).append((name, parameter))
    return [{"params": members, "lr": lr, "weight_decay": decay} for (lr, decay), members in groups.items()]


def moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """Of tensors, in place, given how many times they have been averaged.

    At first over the last tenth of what there was, for the weights of a network's first steps are worth nothing; then
    over more and more, until ``decay`` is reached.
    """

    def update(average: list[Tensor], now: list[Tensor], count: Tensor) -> None:
        torch._foreach_lerp_(average, now, 1 - min(decay, (1 + int(count)) / (10 + int(count))))

    return update


def start(t: TrainConfig, network: nn.Module, plan: Plan) -> Training:
    """The network with all that trains it, at step 0."""
    optimizer = OPTIMIZERS[t.optimizer](parameter_groups(network, t), t, fused=plan.device.type in ("cpu", "cuda"))
    for group in optimizer.param_groups:
        if group.get("momentum"):
            # Fused, SGD would keep uninitialised memory for it where fp16's scaler turns the very first step down.
            optimizer.state.update({p: {"momentum_buffer": torch.zeros_like(p)} for p in group["params"]})
    return Training(
        network,
        optimizer,
        schedule(t, plan.num_steps, plan.steps_per_epoch),
        GradScaler(plan.device.type, enabled=plan.precision == "fp16"),
        AveragedModel(network, multi_avg_fn=moving_average(t.ema), use_buffers=True) if t.ema else None,
    )


def gradients(t: TrainConfig, training: Training, learner: nn.Module, objective: Objective, plan: Plan) -> Gradients:
    """The gradients of a step, as a CUDA graph where the config says so and the device and the processes allow it."""
    computed = gradients_of(training, learner, objective, plan)
    if not t.cuda_graph:
        return computed
    if plan.device.type == "cuda" and distributed.world_size() == 1:
        return Recorded(computed, training.model)
    if distributed.is_main():
        console.print("train.cuda_graph is for CUDA and one process: kernels are launched one by one")
    return computed


def prepared(network: nn.Module, t: TrainConfig, on: torch.device) -> nn.Module:
    """The network on its device, laid out and synchronised as the config says."""
    if t.deterministic and on.type == "cuda":
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads what it has not written
    if distributed.world_size() > 1 and t.sync_batchnorm:
        if on.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        elif distributed.is_main():
            console.print(f"{on} has no synchronised batch normalisation: each process has that of its own images")
    return network.to(on, memory_format=layout(t))


def compiled(network: Callable, on: torch.device, dynamic: bool | None = None) -> Callable:
    """The network, compiled; or as it is, which is said, where nothing can be. ``dynamic``: for all sizes at once."""
    try:
        torch.compile(torch.neg)(torch.zeros(1, device=on))
    except RuntimeError as error:  # no compiler, or not for this device
        console.print(f"{on} can't compile ({str(error).splitlines()[0]}): computing as it is", soft_wrap=True)
        return network
    return torch.compile(network, dynamic=dynamic)
