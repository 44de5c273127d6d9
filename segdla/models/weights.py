"""Weights from elsewhere: the authors' files, timm's, and our own, named as ours and loaded strictly.

Dropped, by name: the 1000-class head ``fc`` of a classification network, the segmentation network's fixed ``up``
(bilinear interpolation, which we compute), and the ``project`` of every Tree that has no Root of its own, which the
authors' code builds but never uses.
"""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from segdla.errors import UserError
from segdla.models.dla import Tree
from segdla.models.segmenter import DLASeg

_DECODER_PART = re.compile(r"dla_up\.ida_(\d+)\.(proj|up|node)_(\d+)")


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a ``.safetensors`` file or a PyTorch one; no code in the file is ever run.

    Raises UserError where the file is missing or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights file at {path}; give the path of a .pth or .safetensors file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error}; make it readable, or give another") from error
        except SafetensorError as error:
            raise UserError(f"{path} holds no weights: it is not a safetensors file ({error})") from error
    state = read_torch_file(path)
    if isinstance(state, dict):  # a training's state holds the network's under one of these
        state = next((state[key] for key in ("state_dict", "model_state_dict", "model") if key in state), state)
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise UserError(f"{path} holds no state dict (tensors by name); save model.state_dict() there")
    return state


def read_torch_file(path: Path) -> Any:
    """What a file of ``torch.save`` holds; code in it is not run. Raises UserError where it can't be read."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; make it readable, or give another") from error
    except MemoryError:
        raise
    except Exception as error:  # the unpickler raises whatever the bytes make it raise, and advises to run the code
        raise UserError(
            f"{path} holds no weights or state that can be loaded safely ({type(error).__name__}); "
            "give a file of tensors, as torch.save or safetensors writes them"
        ) from error


def load_weights(
    model: DLASeg, state: dict[str, Tensor], source: str = "the weights", other_classes: bool = False
) -> bool:
    """Load classification or segmentation weights, the authors', timm's or ours, into ``model``.

    Every tensor must have its place and the right shape, and every place its tensor, but for what the module's
    docstring lists; a classification network fills the backbone alone. Raises UserError otherwise.

    With ``other_classes``, a classifier of another number of classes is left out; True where it was.
    """
    state = {name.removeprefix("module.").removeprefix("_orig_mod."): tensor for name, tensor in state.items()}
    if any(name.startswith("base.") for name in state):
        state = {_segmentation_name(name): t for name, t in state.items() if not name.startswith(("up.", "base.fc."))}
    elif any(name.startswith("base_layer.") for name in state):
        state = {f"backbone.{name}": t for name, t in state.items() if not name.startswith("fc.")}
    dead = tuple(f"{name}.project." for name, m in model.named_modules() if isinstance(m, Tree) and m.root is None)
    state = {name: t for name, t in state.items() if not name.startswith(dead)}

    only_backbone = all(name.startswith("backbone.") for name in state)
    expected = {n: t for n, t in model.state_dict().items() if n.startswith("backbone.") or not only_backbone}
    bias = state.get("classifier.bias")
    left_out = other_classes and bias is not None and bias.shape != model.classifier.bias.shape
    if left_out:
        state, expected = (
            {n: t for n, t in tensors.items() if not n.startswith("classifier.")} for tensors in (state, expected)
        )
    # Files older than PyTorch 0.4 do not count batches, and nothing depends on the count.
    missing = [n for n in expected if n not in state and not n.endswith("num_batches_tracked")]
    unknown = [n for n in state if n not in expected]
    misshapen = [
        f"{n} {tuple(t.shape)} instead of {tuple(expected[n].shape)}"
        for n, t in state.items()
        if n in expected and t.shape != expected[n].shape
    ]
    for problem, names in (("lacks", missing), ("has unknown", unknown), ("has misshapen", misshapen)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(
                f"{source} does not fit this network: it {problem} {', '.join(names[:3])}{more}; "
                "check model.backbone, model.output_stride, model.upsample and the number of classes"
            )
    model.load_state_dict(state, strict=False)
    return left_out


def _segmentation_name(name: str) -> str:
    """The authors' segmentation names to ours."""
    name = re.sub(r"^base\.", "backbone.", name)
    name = re.sub(r"^fc\.0\.", "classifier.", name)

    def decoder_part(match: re.Match) -> str:
        ida, kind, index = match.groups()
        index = int(index) - (kind == "node")  # their nodes count from 1
        return f"decoder.idas.{ida}.{kind}s.{index}"

    return _DECODER_PART.sub(decoder_part, name)
