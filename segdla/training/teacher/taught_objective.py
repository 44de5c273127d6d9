"""The loss of a student: its labels', and its teacher's."""

from torch import Tensor, nn

from segdla.machine.device import autocast
from segdla.training.losses import Objective, PartLoss
from segdla.training.state import Plan


class TaughtObjective(Objective):
    """The labels' loss, and what a ``Student`` lacks of its teacher.

    The labels' loss of a part counts by its labelled pixels. The teacher has an opinion on all of them, and parts have
    one size, so its loss counts alike in each.
    """

    def over(self, learner: nn.Module, plan: Plan) -> PartLoss:
        def loss_of(images: Tensor, targets: Tensor, share: Tensor | float) -> Tensor:
            with autocast(plan.device, plan.precision):
                logits, lesson = learner(images)
            return self(logits.float(), targets) * share + lesson / plan.accumulate

        return loss_of
