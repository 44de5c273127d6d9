"""The batches of one process, from the step at which a training stands."""

from collections.abc import Iterator

from segdla.data.loader import Batch, TrainingKeys, training_batches
from segdla.data.samples import SegmentationDataset
from segdla.machine import distributed
from segdla.training.mix import Mix, mixed
from segdla.training.state import Plan, Training


def keys_of(plan: Plan, training: Training, num_samples: int, batch_size: int) -> TrainingKeys:
    """Return the keys of this process's samples, from the training's step to the end of the plan."""
    return TrainingKeys(
        num_samples,
        batch_size,
        plan.num_steps,
        plan.seed,
        training.step,
        accumulate=plan.accumulate,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
    )


def batches_of(
    plan: Plan, training: Training, samples: SegmentationDataset, batch_size: int, workers: int, mix: Mix | None = None
) -> Iterator[Batch]:
    """Return the batches of this process, from the training's step on, read by ``workers`` processes, and mixed."""
    keys = keys_of(plan, training, len(samples), batch_size)
    batches = training_batches(samples, keys, workers, pin=plan.device.type == "cuda")
    return batches if mix is None else mixed(batches, mix, plan, training.step)
