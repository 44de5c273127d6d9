"""Whole images through a network, counted where it computes."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from segdla import distributed
from segdla.data.loader import Batch
from segdla.inference.predictors import Predictor
from segdla.metrics import ConfusionMatrix


@torch.inference_mode()
def evaluate(
    segment: Predictor,
    batches: Iterable[Batch],
    num_classes: int,
    device: torch.device,
    keep: Callable[[Batch, Tensor], None] | None = None,
) -> ConfusionMatrix:
    """The confusion matrix of class ids over whole images, counted on the device, and over all processes' together.

    ``segment`` makes class ids (B,H,W) uint8 of images (B,3,H,W). ``keep`` is shown each batch with them, on the host,
    one batch late: so the device computes the next meanwhile.
    """
    confusion = ConfusionMatrix(num_classes, device)
    shown: tuple[Batch, Callable[[], Tensor]] | None = None
    for batch in batches:
        images, targets = batch.on(device)
        prediction = segment(images)
        confusion.update(prediction, targets)
        if keep is not None:
            due, shown = shown, (batch, to_host(prediction))
            if due is not None:
                keep(due[0], due[1]())
    if shown is not None:
        keep(shown[0], shown[1]())
    distributed.total(confusion.counts)
    return confusion


def to_host(tensor: Tensor) -> Callable[[], Tensor]:
    """Starts to copy a tensor to the host; what is returned waits for that copy alone, and gives it."""
    if tensor.device.type != "cuda":
        return tensor.cpu
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(tensor.device))

    def wait() -> Tensor:
        copied.synchronize()
        return host

    return wait
