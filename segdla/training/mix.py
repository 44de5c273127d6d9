"""Batches of whole images that are mixed in pairs, images and labels alike: mixup and cutmix, by torchvision."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from segdla.data.loader import Batch
from segdla.machine import distributed
from segdla.training.state import Plan

_TAG = 1  # tells the seeds from those of ``seed_step``: a sequence that ends with zeros is that without them


class Mix:
    """Mix each image of a batch with the one before it, by one way and in one proportion for the batch.

    mixup: parameter of the Beta distribution of the shares in which pixels are averaged (Zhang et al., ICLR 2018).
    cutmix: the same of the share that a rectangle of the other image covers (Yun et al., ICCV 2019). If neither is 0,
    each batch takes one of the two at random. ``num_classes`` is the number of classes.

    Images become float32, and targets the shares (B,C,1,1) of the classes. They are computed on the device, outside of
    what ``train.cuda_graph`` records, because they draw numbers on the host.
    """

    def __init__(self, mixup: float, cutmix: float, num_classes: int):
        from torchvision.transforms import v2

        ways = [kind(alpha=alpha) for kind, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix)) if alpha]
        self.way = v2.RandomChoice(ways)
        self.num_classes = num_classes

    def __call__(self, batch: Batch, device: torch.device) -> Batch:
        """Return a batch mixed; torch's own random numbers decide how."""
        images, targets = batch.on(device)
        shares = (targets.flatten(1) == torch.arange(self.num_classes, device=device)).float()  # (B,C)
        images, shares = self.way(images.float(), shares)
        return batch._replace(images=images, targets=shares[:, :, None, None])


def mixed(batches: Iterable[Batch], mix: Mix, plan: Plan, first_step: int) -> Iterator[Batch]:
    """Mix the batches of a run from a step on, each by random numbers of (seed, step, part, process) alone."""
    for number, batch in enumerate(batches, start=first_step * plan.accumulate):
        step, part = divmod(number, plan.accumulate)
        key = np.random.SeedSequence((plan.seed, step, distributed.rank(), part, _TAG))
        torch.manual_seed(key.generate_state(1)[0])
        yield mix(batch, plan.device)
