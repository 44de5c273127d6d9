"""The device to compute on, the precision it computes in, and torch's global flags for both.

Functions named ``choose_`` change nothing. ``start`` sets torch's global flags as they answer, once a command.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor

from segdla.errors import UserError, one_line, quoted
from segdla.machine import distributed
from segdla.machine.processor import has_fast_bf16
from segdla.machine.terminal import say
from segdla.machine.threads import processes_here

Compilable = TypeVar("Compilable", bound=Callable)
_NEAREST = {  # precision: itself, then those that may stand in for it
    "fp32": ("fp32",),
    "tf32": ("tf32", "fp32"),
    "bf16": ("bf16", "fp16", "fp32"),
    "fp16": ("fp16", "bf16", "fp32"),
}


@dataclass(frozen=True)
class Machine:
    """The device and the precision of this process; ``wanted`` is the precision that was asked for."""

    device: torch.device
    precision: str
    wanted: str

    def __str__(self) -> str:
        return (
            self.precision
            if self.precision == self.wanted
            else f"{self.precision} ({self.device} has no fast {self.wanted})"
        )


def start(device: str | torch.device, precision: str, *, deterministic: bool | None = None) -> Machine:
    """Set torch's global flags for a device and a precision, and return the two; nothing else is started.

    A device's name and the precision are resolved by ``choose_device`` and ``choose_precision``. ``deterministic``
    makes CUDA give the same bits each time; None leaves that as it is. Raises UserError if the device can't be used.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    device = device if isinstance(device, torch.device) else choose_device(device)
    machine = Machine(device, choose_precision(precision, device), precision)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # By default cuDNN computes float32 convolutions in tf32.
        torch.backends.cudnn.allow_tf32 = machine.precision == "tf32"
        # The network has no matrix products. Score maps are summed by them, and these sums are to be exact.
        torch.backends.cuda.matmul.allow_tf32 = False
        if deterministic:
            _use_deterministic(True)
    if deterministic is False and torch.are_deterministic_algorithms_enabled():  # by an earlier run of this process
        _use_deterministic(False)
    return machine


def _use_deterministic(enabled: bool) -> None:
    torch.use_deterministic_algorithms(enabled)
    # Nothing here reads memory that it hasn't written. (To the type checker this module has no properties.)
    torch.utils.deterministic.fill_uninitialized_memory = not enabled  # type: ignore[attr-defined]


def choose_device(name: str | torch.device) -> torch.device:
    """Return the device to compute on; ``auto`` picks CUDA, MPS or CPU, in this order.

    Each of several processes gets a CUDA device of its own. Raises UserError if the device can't be used.
    """
    name = str(name)
    is_auto = name == "auto"
    if is_auto:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if ":" in name and distributed.world_size() > 1:
        raise UserError(f"device {quoted(name)} is one for {distributed.world_size()} processes; name its kind alone")
    if name == "cuda":
        if 0 < torch.cuda.device_count() <= distributed.local_rank():
            raise UserError(
                f"{processes_here()} processes for {torch.cuda.device_count()} CUDA devices; give torchrun "
                f"--nproc_per_node {torch.cuda.device_count()}"
            )
        name = f"cuda:{distributed.local_rank()}"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        others = "cpu" if is_auto else "auto or cpu"
        reason = one_line(str(error).splitlines()[0])
        raise UserError(f"device {quoted(name)} can't be used here ({reason}); try {others}") from None
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return a device's name for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device} with {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)


def choose_precision(name: str, device: torch.device) -> str:
    """Return the precision asked for, or the nearest one that the device computes in without emulating it."""
    available = {"fp32"}
    if device.type == "cuda":
        available |= {"fp16"}
        available |= {"bf16"} if torch.cuda.is_bf16_supported(including_emulation=False) else set()
        available |= {"tf32"} if torch.cuda.get_device_capability(device) >= (8, 0) else set()
    elif device.type == "cpu" and has_fast_bf16():
        available |= {"bf16"}
    return next(near for near in _NEAREST[name] if near in available)


def in_precision(model: Callable[[Tensor], Tensor], device: torch.device, precision: str) -> Callable[[Tensor], Tensor]:
    """Return the model as a function with float32 outputs; half precisions are computed under autocast."""

    def forward(images: Tensor) -> Tensor:
        with autocast(device, precision):
            return model(images).float()

    return forward


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return a context in which half precisions are computed under autocast."""
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.autocast(device.type, half, enabled=half is not None)


def compiled(model: Compilable, device: torch.device, dynamic: bool | None = None) -> Compilable:
    """Return the model compiled; if this machine can't compile, say so and return the model unchanged.

    With ``dynamic`` it is compiled for all sizes of images at once.
    """
    try:
        torch.compile(torch.neg)(torch.zeros(1, device=device))
    except RuntimeError as error:  # no compiler, or none for this device
        say(f"{device} can't compile ({str(error).splitlines()[0]}): computing as it is")
        return model
    return cast(Compilable, torch.compile(model, dynamic=dynamic))  # torch.compile makes a module of a module
