"""From config to objects: the only room that knows both."""

import os

import torch

from segdla import distributed
from segdla.checkpoint import Checkpoint
from segdla.config import Config, TrainConfig
from segdla.data.dataset import SegmentationDataset, Source
from segdla.data.loader import WholeImages
from segdla.errors import UserError
from segdla.models.dla import VARIANTS
from segdla.models.fold import folded
from segdla.models.segmenter import DLASeg
from segdla.models.weights import load_weights
from segdla.models.winograd import winograd

_NEAREST = {
    "fp32": ("fp32",),
    "tf32": ("tf32", "fp32"),
    "bf16": ("bf16", "fp16", "fp32"),
    "fp16": ("fp16", "bf16", "fp32"),
}


def model(config: Config, num_classes: int) -> DLASeg:
    """The network, freshly initialised; ``model.weights`` are the caller's to load."""
    m = config.model
    return DLASeg(VARIANTS[m.backbone](), num_classes, m.output_stride, m.upsample, m.mean, m.std)


def device(name: str | torch.device) -> torch.device:
    """A torch device, by name or as it is; ``auto`` is CUDA, else MPS, else the CPU. Raises UserError without it.

    Each of several processes has a CUDA device of its own.
    """
    asked = name = str(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if ":" in name and distributed.world_size() > 1:
        raise UserError(f"device {name!r} is one for {distributed.world_size()} processes; name its kind alone")
    if name == "cuda":
        if 0 < torch.cuda.device_count() <= distributed.local_rank():
            raise UserError(
                f"{distributed.processes_here()} processes for {torch.cuda.device_count()} CUDA devices; give torchrun "
                f"--nproc_per_node {torch.cuda.device_count()}"
            )
        name = f"cuda:{distributed.local_rank()}"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        others = "cpu" if asked == "auto" else "auto or cpu"
        raise UserError(f"device {name!r} can't be used here ({str(error).splitlines()[0]}); try {others}") from None
    found = torch.device(name)
    if found.type == "cuda":
        torch.cuda.set_device(found)
    return found


def precision(name: str, on: torch.device) -> str:
    """The precision asked for, or the nearest that the device computes in; float32 is set up for it.

    On x86 AVX-512 is taken for the sign of bf16: torch tells no more of a CPU.
    """
    has = {"fp32"}
    if on.type == "cuda":
        has |= {"fp16"}
        has |= {"bf16"} if torch.cuda.is_bf16_supported(including_emulation=False) else set()
        has |= {"tf32"} if torch.cuda.get_device_capability(on) >= (8, 0) else set()
    elif on.type == "cpu" and torch.backends.cpu.get_cpu_capability() in ("AVX512", "SVE256"):
        has |= {"bf16"}
    found = next(near for near in _NEAREST[name] if near in has)
    if on.type == "cuda":  # unasked, cuDNN computes float32 convolutions in tf32
        torch.backends.cudnn.allow_tf32 = found == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = False  # the network has none: they sum scores, which is to be exact
    return found


def layout(t: TrainConfig) -> torch.memory_format:
    """How the network's memory is laid out."""
    return torch.channels_last if t.channels_last else torch.contiguous_format


def computed_in(asked: str, found: str, on: torch.device) -> str:
    """How a tool says in what precision it computes."""
    return found if found == asked else f"{found} ({on} has no {asked})"


def num_workers(config: Config) -> int:
    if config.data.workers is not None:
        return config.data.workers
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, max(1, usable // distributed.processes_here()))


def whole_images(config: Config, split_source: Source, on: torch.device) -> WholeImages:
    """What a source's evaluation goes through."""
    dataset = SegmentationDataset(split_source)
    return WholeImages(
        dataset,
        config.eval.batch_size,
        num_workers(config),
        on.type == "cuda",
        distributed.rank(),
        distributed.world_size(),
    )


def for_prediction(network: DLASeg, on: torch.device, precision: str) -> DLASeg:
    """The network in its fastest form, changed in place: batch normalisation is folded into convolutions.

    In float32 on a CPU the wide ones are then computed by Winograd's way.
    """
    network = folded(network)
    return winograd(network) if on.type == "cpu" and precision == "fp32" else network


def trained(checkpoint: Checkpoint, config: Config, on: torch.device) -> DLASeg:
    """The network of a checkpoint, ready to predict, laid out as it was in training."""
    network = model(config, len(checkpoint.card["classes"]))
    load_weights(network, checkpoint.state_dict, str(checkpoint.path))
    return network.to(on, memory_format=layout(config.train)).eval()
