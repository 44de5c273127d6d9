"""Predict whole images and count them where the network computes."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from segdla.data.loader import Batch
from segdla.evaluation.evaluator import Evaluator, Prediction

PredictBatch = Callable[[Tensor], Prediction]  # takes images (B,3,H,W)
Keep = Callable[[Batch, Tensor], None]  # takes a batch and its class ids (B,H,W) uint8, on the host


class _Pending(NamedTuple):
    batch: Batch
    class_ids: Callable[[], Tensor]


@torch.inference_mode()
def count_batches(
    predict: PredictBatch,
    batches: Iterable[Batch],
    evaluators: Sequence[Evaluator],
    device: torch.device,
    keep: Keep | None = None,
) -> list[str]:
    """Predict batches and show them to the evaluators; in the end each covers the images of all processes.

    Returns the names of this process's own images, in their order.

    ``keep`` gets each batch one batch late, so that the device computes the next one meanwhile.
    """
    needs_probabilities = any(evaluator.needs_probabilities for evaluator in evaluators)
    pending: _Pending | None = None
    names: list[str] = []
    for batch in batches:
        images, targets = batch.on(device)
        prediction = predict(images)._replace(names=tuple(batch.names))
        assert prediction.probabilities is not None or not needs_probabilities, "an evaluator needs probabilities"
        for evaluator in evaluators:
            evaluator.update(images, targets, prediction)
        names += batch.names
        if keep is not None:
            due, pending = pending, _Pending(batch, to_host(prediction.class_ids))
            if due is not None:
                keep(due.batch, due.class_ids())
    if keep is not None and pending is not None:
        keep(pending.batch, pending.class_ids())
    for evaluator in evaluators:
        evaluator.reduce()
    return names


def to_host(tensor: Tensor) -> Callable[[], Tensor]:
    """Start to copy a tensor to the host; return a function that waits for this copy alone and returns it."""
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
