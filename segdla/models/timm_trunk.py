"""Classification networks of timm, whole but for their classifier."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from segdla.errors import UserError
from segdla.models.layers import with_grouped
from segdla.models.timm_backbone import classifier, library, published
from segdla.models.weights import require_fit

PREFIX = "backbone.trunk."
"""Of the tensors of a trunk, in the state dict of the network that it is in."""


class TimmTrunk(nn.Module):
    """A classification network of timm's without its classifier: normalised images (B,3,H,W) to what that reads.

    This is its one map, of a single pixel: (B,C,1,1). It has the convolutions and norms between the last map and the
    classifier, which a backbone for segmentation lacks, and takes images of any size that timm's network takes.
    """

    strides = (1,)

    def __init__(self, name: str):
        super().__init__()
        published(name)
        self.name = name
        self.trunk: nn.Module = with_grouped(library().create_model(name, num_classes=0))
        self.channels = (int(getattr(self.trunk, "head_hidden_size", None) or self.trunk.num_features),)

    def forward(self, images: Tensor) -> list[Tensor]:
        pooled: Tensor = self.trunk(images)  # (B,C)
        return [pooled[:, :, None, None]]

    def renamed(self, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
        """Return the weights of timm's whole network, classifier and all, under our names.

        Raises UserError if they don't fit; ``source`` names them in its message.
        """
        whole: Any = classifier(self.name, state, source)
        head: Any = whole.get_classifier()
        place = next((name for name, module in whole.named_modules() if module is head), None)
        if place is None or head.weight.shape[1] != self.channels[0]:
            raise UserError(f"timm/{self.name} has no single classifier; choose another model.backbone")
        ours = {f"{PREFIX}{name}": t for name, t in whole.state_dict().items() if not name.startswith(f"{place}.")}
        return ours | {
            "classifier.weight": head.weight.detach().reshape(-1, self.channels[0], 1, 1),
            "classifier.bias": head.bias.detach(),
        }


def state_of_trunk(name: str, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return the weights of a trunk in a network's state under timm's names; none if it has no trunk.

    Raises UserError if they are not those of timm's network ``name``; ``source`` names them in its message.
    """
    theirs = {key.removeprefix(PREFIX): tensor for key, tensor in state.items() if key.startswith(PREFIX)}
    if theirs:
        require_fit(theirs, library().create_model(name, num_classes=0).state_dict(), source)
    return theirs
