"""A network in training beside its teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from segdla.errors import UserError
from segdla.models.dlaseg import Backbone, DLASeg, at_image_size
from segdla.training.teacher.likeness import decorrelation, divergence

_FINEST = 4  # stride of maps that are compared: finer ones hold edges and colours, and most of the pixels
Size = tuple[int, int]  # (height, width)


@dataclass(frozen=True)
class Teacher:
    """A trained network, in evaluation mode, and the weights of what is learned from it.

    It is no module: none of its parameters is trained, averaged, copied or saved.
    """

    network: DLASeg
    logits: float
    features: float
    temperature: float
    digits: str  # of its file's hash
    sigmoid: bool = False  # the head of both

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    @torch.no_grad()
    def answer(self, images: Tensor) -> tuple[Sequence[Tensor], Tensor | None]:
        """Return its maps of images (B,3,H,W), and its logits (B,C,h,w) if they are learned from."""
        maps = self.network.maps(images)
        return maps, self.network.decoded(maps) if self.logits else None


class Student(nn.Module):
    """A network that learns from a teacher; ``projections`` bring its maps to the teacher's channels (B,C,h,w).

    They are trained with it and belong to the state of a run, but not to the network that is kept.

    Raises UserError if features are to be learned, and the two have maps at no common stride.
    """

    def __init__(self, network: DLASeg, teacher: Teacher):
        super().__init__()
        self.network = network
        self.teacher = teacher
        ours, theirs = channels_by_stride(network.backbone), channels_by_stride(teacher.network.backbone)
        self.strides = [stride for stride in ours if stride in theirs and stride >= _FINEST] if teacher.features else []
        if teacher.features and not self.strides:
            raise UserError(
                f"the teacher has maps at strides {', '.join(map(str, theirs))} and the network at "
                f"{', '.join(map(str, ours))}: none from {_FINEST} on is common to both; choose another train.teacher, "
                "or learn from its logits alone (train.distill.features=0)"
            )
        self.projections = nn.ModuleList(
            nn.Conv2d(ours[stride], theirs[stride], 1, bias=False) for stride in self.strides
        )

    @property
    def subjects(self) -> str:
        """What is learned from the teacher, in words."""
        at = ", ".join(map(str, self.strides))
        logits = [f"logits (weight {self.teacher.logits:g}, temperature {self.teacher.temperature:g})"]
        features = [f"features at strides {at} (weight {self.teacher.features:g})"]
        return " and ".join(logits * bool(self.teacher.logits) + features * bool(self.strides))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (B,C,H,W) of images (B,3,H,W), and what they and the maps lack of the teacher's: a mean."""
        height, width = images.shape[-2:]
        teacher_maps, teacher_logits = self.teacher.answer(images)
        maps = self.network.maps(images)
        logits = self.network.decoded(maps)
        lesson = logits.new_zeros(())
        if self.strides:
            lesson = lesson + self.teacher.features * self._decorrelation(maps, teacher_maps, (height, width))
        if teacher_logits is not None:
            lesson = lesson + self.teacher.logits * self._divergence(logits, teacher_logits, (height, width))
        return at_image_size(logits, self.network.output_stride, (height, width)), lesson

    def correlation(self, network: DLASeg, images: Tensor) -> Tensor:
        """Return the correlation with the teacher's maps of those of a network like the student's: a mean."""
        teacher_maps, _ = self.teacher.answer(images)
        height, width = images.shape[-2:]
        return 1 - self._decorrelation(network.maps(images), teacher_maps, (height, width))

    def _decorrelation(self, maps: Sequence[Tensor], teacher_maps: Sequence[Tensor], size: Size) -> Tensor:
        """Return the mean over the common strides; each network pads images in its own way, so padding is left out."""
        ours = dict(zip(self.network.backbone.strides, maps, strict=True))
        theirs = dict(zip(self.teacher.network.backbone.strides, teacher_maps, strict=True))
        losses = []
        for stride, project in zip(self.strides, self.projections, strict=True):
            height, width = at_stride(size, stride)
            pair = (x[..., :height, :width].float() for x in (project(ours[stride]), theirs[stride]))
            losses.append(decorrelation(*pair))
        return torch.stack(losses).mean()

    def _divergence(self, logits: Tensor, teacher_logits: Tensor, size: Size) -> Tensor:
        """Return the divergence at the finer of both output strides: logits that are interpolated say nothing new."""
        strides = self.network.output_stride, self.teacher.network.output_stride
        finer = min(strides)
        ours, theirs = (
            at_image_size(x, stride // finer, at_stride(size, finer))
            for x, stride in zip((logits, teacher_logits), strides, strict=True)
        )
        return divergence(ours, theirs, self.teacher.temperature, self.teacher.sigmoid)


def channels_by_stride(backbone: Backbone) -> dict[int, int]:
    """Return the channels of a backbone's map at each stride; of several at one stride, the deepest map's."""
    return dict(zip(backbone.strides, backbone.channels, strict=True))


def at_stride(size: Size, stride: int) -> Size:
    """Return the (height, width) of a map that covers an image of ``size``."""
    height, width = size
    return -(-height // stride), -(-width // stride)
