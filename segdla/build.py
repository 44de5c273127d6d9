"""From config to objects: the only file, with ``build_data`` for the data sets, that knows both."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from segdla import __version__, engine, losses
from segdla import config as configs
from segdla.build_data import cached, source
from segdla.checkpoint import LAST, Checkpoint, find_checkpoint, read_training, read_weights
from segdla.config import Config
from segdla.data.check import quick_check
from segdla.data.dataset import SegmentationDataset, Source
from segdla.data.loader import TrainingKeys, WholeImages, training_batches
from segdla.data.transforms import TrainingTransform
from segdla.errors import UserError
from segdla.inference import Predictor, Segmenter, flip, merged_by, multiscale, sliding_window
from segdla.models.dla import VARIANTS
from segdla.models.segmenter import DLASeg
from segdla.models.weights import load_weights, read_state_dict
from segdla.report import RunLog, console

OPTIMIZERS = {
    "sgd": lambda parameters, t: torch.optim.SGD(parameters, t.lr, t.momentum, weight_decay=t.weight_decay),
    "adamw": lambda parameters, t: torch.optim.AdamW(parameters, t.lr, weight_decay=t.weight_decay),
}


def model(config: Config, num_classes: int) -> DLASeg:
    """The network, freshly initialised; ``model.weights`` are the caller's to load."""
    m = config.model
    return DLASeg(VARIANTS[m.backbone](), num_classes, m.output_stride, m.upsample, m.mean, m.std)


def device(name: str) -> torch.device:
    """A torch device by name; ``auto`` is CUDA, else MPS, else the CPU. Raises UserError where it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        raise UserError(f"device {name!r} can't be used here ({str(error).splitlines()[0]}); try auto or cpu") from None
    return torch.device(name)


def precision(name: str, on: torch.device) -> str:
    """The precision asked for, or fp32, which is said, where the device has no instructions for bf16.

    On x86 AVX-512 is taken for the sign of them: torch tells no more of a CPU.
    """
    native = {
        "cpu": lambda: torch.backends.cpu.get_cpu_capability() in ("AVX512", "SVE256"),
        "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
    }
    if name == "bf16" and not native.get(on.type, lambda: True)():
        console.print(f"{on} has no bf16: computing in fp32")
        return "fp32"
    return name


def loss(config: Config, num_classes: int, on: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """The training loss over logits (B,C,H,W) and targets (B,H,W)."""
    weights = config.train.class_weights
    if weights is not None and len(weights) != num_classes:
        raise UserError(f"train.class_weights has {len(weights)} numbers for {num_classes} classes; give one a class")
    return partial(losses.cross_entropy, weights=None if weights is None else torch.tensor(weights, device=on))


def num_workers(config: Config) -> int:
    if config.data.workers is not None:
        return config.data.workers
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, usable)


def whole_images(config: Config, split_source: Source, on: torch.device) -> WholeImages:
    """What a source's evaluation goes through."""
    dataset = SegmentationDataset(split_source)
    return WholeImages(dataset, config.eval.batch_size, num_workers(config), on.type == "cuda")


def training_state(config: Config, network: DLASeg, num_steps: int) -> engine.Training:
    """The network with its optimizer and schedule, at step 0."""
    t = config.train
    optimizer = OPTIMIZERS[t.optimizer](network.parameters(), t)
    schedule = partial(poly, num_steps=num_steps, power=t.power, warmup_steps=t.warmup_steps)
    return engine.Training(network, optimizer, schedule)


def resume_from(run: Path, training: engine.Training) -> None:
    """Bring a training state to where the run stopped. Raises UserError where it does not fit."""
    state = read_training(run)
    try:
        training.load_state_dict(state)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"the state of {run} does not fit the config; resume without changing model, data or train.optimizer"
        ) from error


def train(config: Config, run: Path, resume: bool) -> bool:
    """Train in the folder ``run``; True when it got to the end, False when a signal stopped it.

    Nothing is written before data, network and (with ``resume``) training state are all there.
    """
    t, a = config.train, config.data.augment
    on = device(t.device)
    computing = precision(t.precision, on)
    torch.manual_seed(t.seed)
    train_source, val_source = source(config, "train"), source(config, "val")
    for found in (train_source, val_source):
        quick_check(found)  # a data set that is wrong throughout is answered at once
    classes = train_source.classes
    objective = loss(config, len(classes), on)
    network = model(config, len(classes))
    if config.model.weights and not resume:
        load_weights(network, read_state_dict(config.model.weights), config.model.weights)
    network.to(on, memory_format=torch.channels_last if t.channels_last else torch.contiguous_format)

    steps_per_epoch = -(-len(train_source) // t.batch_size)
    num_steps = t.epochs * steps_per_epoch
    training = training_state(config, network, num_steps)
    if resume:
        resume_from(run, training)
        if training.evaluated >= num_steps or training.step > num_steps:
            done = -(-training.step // steps_per_epoch)
            raise UserError(
                f"{run} has done its {t.epochs} epochs; to go on, add train.epochs={2 * max(t.epochs, done)}"
            )
    train_source, val_source = cached(config, train_source, "train"), cached(config, val_source, "val")
    transform = TrainingTransform(config.data.crop, a.scale, a.rotate, a.flip, a.jitter, a.transforms)
    dataset = SegmentationDataset(train_source, transform, t.seed)
    keys = TrainingKeys(len(dataset), t.batch_size, num_steps, t.seed, training.step)
    batches = training_batches(dataset, keys, num_workers(config), on.type == "cuda")

    console.print(
        f"{config.model.backbone}, output stride {config.model.output_stride}, {len(classes)} classes, "
        f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters, on {on} in {computing}\n"
        f"{classes.protocol or config.data.dataset}: {len(train_source)} images to train on, "
        f"{len(val_source)} to validate; python tools/check_data.py CONFIG examines them all\n"
        f"{t.epochs} epochs of {steps_per_epoch} steps of {t.batch_size} images"
        f"{f', from step {training.step} on' if resume else ''}; everything goes to {run}/",
        soft_wrap=True,
    )
    card = {
        "config": config.model_dump(mode="json"),
        "classes": classes.names,
        "palette": classes.palette,
        "protocol": classes.protocol,
        "version": __version__,
    }
    open_run(config, run, resume)
    try:
        with RunLog(run, classes.names, classes.palette, training.step, training.evaluated, num_steps) as log:
            return engine.train(
                training,
                engine.in_precision(network, on, computing),
                objective,
                batches,
                whole_images(config, val_source, on),
                log,
                card,
                device=on,
                num_steps=num_steps,
                steps_per_epoch=steps_per_epoch,
                eval_every=t.eval_every,
                report_every=t.report_every,
            )
    except UserError:
        if not resume and not (run / LAST).exists():  # nothing to go on from: leave no husk of a run
            shutil.rmtree(run)
        raise


def open_run(config: Config, run: Path, resume: bool) -> None:
    """Make a run's folder, with its config. Raises UserError where it is taken or can't be made."""
    try:
        run.mkdir(parents=True, exist_ok=resume)
        (run / "config.yaml").write_text(configs.dump(config), encoding="utf-8")
    except FileExistsError:
        raise UserError(f"{run} was made by another run just now; choose another --name") from None
    except OSError as error:
        raise UserError(f"cannot write {run}: {error.strerror}; choose another --runs, or make room") from error


def poly(step: int, num_steps: int, power: float, warmup_steps: int) -> float:
    """The share of the learning rate in force at a step: a linear warm-up from 1 %, then (1 - progress)^power."""
    warmup = min(1.0, 0.01 + 0.99 * step / warmup_steps) if warmup_steps else 1.0
    return warmup * (1 - min(step, num_steps) / num_steps) ** power


def trained(checkpoint: Checkpoint, config: Config, on: torch.device) -> DLASeg:
    """The network of a checkpoint, ready to predict."""
    network = model(config, len(checkpoint.card["classes"]))
    load_weights(network, checkpoint.state_dict, str(checkpoint.path))
    return network.to(on, memory_format=torch.channels_last).eval()


def predictor(
    forward: Predictor,
    *,
    merge: str,
    scales: tuple[float, ...] = (1.0,),
    with_flip: bool = False,
    window: tuple[int, int] | None = None,
    overlap: float = 0.25,
) -> Predictor:
    """What a model's ``forward`` becomes at test time; plain, where nothing is to be merged."""
    if scales == (1.0,) and not with_flip and window is None:
        return forward
    predict = merged_by(merge, forward)
    if window is not None:
        predict = sliding_window(predict, window, overlap)
    if with_flip:
        predict = flip(predict)
    return multiscale(predict, scales)


def load(place: str | Path | None = None, device_name: str = "auto", runs: Path = Path("runs")) -> Segmenter:
    """A trained network, from a run, a checkpoint, or (None) the newest run, as one object that predicts."""
    checkpoint = read_weights(find_checkpoint(None if place is None else str(place), runs))
    config = configs.parse(checkpoint.card["config"], source=str(checkpoint.path))
    on = device(device_name)
    forward = engine.in_precision(trained(checkpoint, config, on), on, precision(config.train.precision, on))
    palette = tuple(map(tuple, checkpoint.card["palette"]))
    return Segmenter(forward, tuple(checkpoint.card["classes"]), palette, on, checkpoint.path)
