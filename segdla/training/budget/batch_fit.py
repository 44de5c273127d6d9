"""The number of images whose training step fits into memory: on the device by trying, on a processor by measuring."""

import gc
from collections.abc import Callable

import torch
from torch import Tensor

from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.machine import distributed
from segdla.machine.out_of_memory import is_out_of_memory
from segdla.machine.shared_memory import free_memory
from segdla.machine.speed import peak_memory, wait_for
from segdla.machine.terminal import say
from segdla.machine.threads import processes_here
from segdla.training.state import Training

FEWEST = 2  # of one image alone, batch normalisation may see a single pixel
_MOST, _MOST_ON_CPU = 64, 16  # a step's images; a processor computes no faster with more
_FEWEST_STEPS = 8  # an epoch has
_SHARE = 0.5  # of the host's free memory; loader and validation need some, and so does whatever else runs there
# Of a CUDA device's memory, for what a trial does not see. A graph keeps memory of its own beside that of other steps.
_SPARE, _SPARE_BESIDE_A_GRAPH = 0.1, 0.5


def fitting_batch(
    training: Training,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
    num_images: int,
    parts: int,
    crop: tuple[int, int],
    classes: Classes,
    as_graph: bool,
) -> int:
    """Return how many images a step of ``parts`` parts has, the most that fit into memory, and say it.

    training: of a copy of the network, which is trained on made-up images. loss_of: from images and targets. All
    processes take the same number. Raises UserError if not even two images fit.
    """
    most = max(FEWEST, most_images(num_images, device) // parts)
    spare = _SPARE_BESIDE_A_GRAPH if as_graph else _SPARE
    step = trial_step(training, loss_of, device, crop, classes)
    part = -distributed.highest(-largest_batch(step, device, most, spare))
    if part == 0:
        raise UserError(
            f"not even {FEWEST} images of {crop[0]}x{crop[1]} (data.crop) fit into the memory of {device}; lower "
            "data.crop, or choose a smaller model.backbone"
        )
    if distributed.is_main():
        why = "the most that fits" if 2 * part <= most else "the most that auto takes here"
        say(f"train.batch_size is {part * parts}, {why}; train.lr stays {training.optimizer.defaults['lr']:g}")
    return part * parts


def trial_step(
    training: Training,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
    crop: tuple[int, int],
    classes: Classes,
) -> Callable[[int], None]:
    """Return a function that takes a step over so many made-up images.

    It takes the memory of a true step, and communicates with no other process: one may lack memory that another has.
    """

    def step(num_images: int) -> None:
        images = torch.zeros(num_images, 3, *crop, dtype=torch.uint8, device=device)
        like = torch.empty(num_images, *classes.target_size(crop), device=device)
        targets = torch.arange(like.numel(), device=device).view_as(like) % len(classes)
        with torch.random.fork_rng([device.index] if device.type == "cuda" else []):
            training.scaler.scale(loss_of(images, targets)).backward()
        training.scaler.step(training.optimizer)
        training.scaler.update()
        training.average()
        training.optimizer.zero_grad(set_to_none=True)

    return step


def most_images(num_images: int, device: torch.device) -> int:
    """Return the most images that a step of ``auto`` has: a sensible bound, whatever fits."""
    return min(_MOST_ON_CPU if device.type == "cpu" else _MOST, num_images // _FEWEST_STEPS)


def largest_batch(step: Callable[[int], None], device: torch.device, most: int, spare: float) -> int:
    """Return the largest power of two, at most ``most``, of images whose ``step`` fits into memory; 0 if none does.

    Powers of two leave room: for memory in pieces, and for workspaces that grow. On CUDA, ``spare`` is a share of the
    device's memory that is kept free as well.
    """
    sizes = [FEWEST]
    while 2 * sizes[-1] <= most:
        sizes.append(2 * sizes[-1])
    if device.type == "cpu":
        peak = peak_memory(lambda: step(FEWEST), device) or 0.0  # nothing where the system does not say
        room = _SHARE * free_memory() / processes_here()
        return max((size for size in sizes if peak * size / FEWEST <= room), default=0)
    fitting = 0
    for size in sizes:
        if not _fits(step, size, device, spare):
            break
        fitting = size
    return fitting


def _fits(step: Callable[[int], None], size: int, device: torch.device, spare: float) -> bool:
    """Try a step beside an unused block of memory, and free all that it took."""
    try:
        total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
        unused = torch.empty(int(spare * total), dtype=torch.uint8, device=device)
        step(size)
        wait_for(device)
        del unused
        return True
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
