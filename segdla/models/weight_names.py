"""Names of pretrained weights: those of the authors' files, of timm's and of wrapped networks become ours.

Three things are dropped:

- ``fc``, a classification network's head, unless ours is one too;
- ``up``, the segmentation network's fixed bilinear interpolation, which is computed here;
- ``project`` of every Tree without a Root of its own, which the authors' code builds but never uses.
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from segdla.models.dla import Tree

_DECODER_PART = re.compile(r"dla_up\.ida_(\d+)\.(proj|up|node)_(\d+)")
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")  # modules around a network: parallel, compiled, Lightning's


def with_our_names(state: Mapping[str, Tensor], keep_head: bool = False) -> dict[str, Tensor]:
    """Return the tensors under our names, without the heads that our network lacks; ``keep_head`` for classification.

    The prefix of a compiled, a data-parallel or a Lightning network is removed too.
    """
    state = dict(state)
    for wrapper in _WRAPPERS:
        state = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    if any(name.startswith("base.") for name in state):  # the authors' segmentation network
        return {_segmentation_name(name): t for name, t in state.items() if not name.startswith(("up.", "base.fc."))}
    if any(name.startswith("base_layer.") for name in state):  # the authors' or timm's classification network
        head = {
            name.replace("fc.", "classifier."): t for name, t in state.items() if name.startswith("fc.") and keep_head
        }
        return {f"backbone.{name}": t for name, t in state.items() if not name.startswith("fc.")} | head
    return state


def without_unused(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors less the projections of those of the network's Trees that have no Root of their own."""
    trees = {name: module for name, module in network.named_modules() if isinstance(module, Tree)}
    unused = tuple(f"{name}.project." for name, tree in trees.items() if tree.root is None)
    return {name: tensor for name, tensor in state.items() if not name.startswith(unused)}


def _segmentation_name(name: str) -> str:
    """Return our name of a tensor of the authors' segmentation network."""
    name = re.sub(r"^base\.", "backbone.", name)
    name = re.sub(r"^fc\.0\.", "classifier.", name)

    def decoder_part(match: re.Match[str]) -> str:
        ida, kind, number = match.groups()
        index = int(number) - (kind == "node")  # their nodes count from 1
        return f"decoder.idas.{ida}.{kind}s.{index}"

    return _DECODER_PART.sub(decoder_part, name)
