"""Pretrained weights: files read, and their tensors loaded strictly under our names (``weight_names.py``)."""

import argparse
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from segdla.errors import UserError, one_line
from segdla.models.dlaseg import DLASeg
from segdla.models.skips import GlobalPool
from segdla.models.weight_names import with_our_names, without_unused

_MOST_LISTED = 3  # names in one message
_KEYS = ("state_dict", "model_state_dict", "model", "net", "network")  # of the state dict that is meant, if of several
_SAVE_AGAIN = "save the weights alone, where it was made: torch.save(model.state_dict(), FILE)"


class Loaded(NamedTuple):
    """The part of a network that weights filled, for a line on the terminal; counts of batches are no weights."""

    source: str
    num_read: int  # tensors
    num_all: int  # of the network
    left_out: tuple[str, ...] = ()  # parts of the network without weights: backbone, decoder, classifier

    def __str__(self) -> str:
        if not self.left_out:
            return f"{self.source}: all {self.num_all} tensors"
        parts = " and ".join(f"the {part}" for part in self.left_out)
        verb = "start" if len(self.left_out) > 1 else "starts"
        return f"{self.source}: {self.num_read} of {self.num_all} tensors; {parts} {verb} at random"


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors`` file or a PyTorch one, by name; no code in the file is ever run.

    A folder stands for the one ``.safetensors`` file in it. Raises UserError if the file is missing, can't be read or
    holds no state dict.
    """
    path = _file_of(Path(path))
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error}; make it readable, or give another") from error
        except SafetensorError as error:
            raise UserError(f"{path} holds no weights: it is not a safetensors file ({error})") from error
    with _allowing_figures():
        content = read_torch_file(path)
    if _is_state_dict(content):
        return content
    states = (
        {key: value for key, value in content.items() if _is_state_dict(value)} if isinstance(content, dict) else {}
    )
    key = next((key for key in _KEYS if key in states), None)
    if key is None and len(states) > 1:
        raise UserError(f"{path} holds several state dicts ({_listed(states)}); save the one that is meant, alone")
    if not states:
        found = _listed(content) if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{path} holds no state dict (tensors by name), but {found or 'nothing'}; {_SAVE_AGAIN}")
    return next(iter(states.values())) if key is None else states[key]


def _file_of(path: Path) -> Path:
    """Return the file itself, or the weights in a folder. Raises UserError if there is none."""
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        if len(files) != 1:
            holds = (
                f"holds {len(files)} .safetensors files ({_listed(f.name for f in files)})" if files else "holds none"
            )
            raise UserError(f"{path} is a folder that {holds}; give the path of a .pth or .safetensors file")
        return files[0]
    if not path.is_file():
        raise UserError(f"no weights file at {path}; give the path of a .pth or .safetensors file")
    return path


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


@contextmanager
def _allowing_figures() -> Iterator[None]:
    """Let ``read_torch_file`` build numpy's scalars and arrays of numbers, and argparse's namespaces.

    Scores and settings are often saved beside the weights. These types hold data alone: building them calls nothing
    that a file names.
    """
    multiarray = np._core.multiarray  # type: ignore[attr-defined]
    kinds = [type(np.dtype(code)) for code in np.typecodes["All"] if code != "O"]
    functions = [
        (f, f"numpy.{core}.multiarray.{f.__name__}")  # numpy 1 called the module otherwise
        for f in (multiarray.scalar, multiarray._reconstruct)
        for core in ("core", "_core")
    ]
    with torch.serialization.safe_globals([np.dtype, np.ndarray, argparse.Namespace, *kinds, *functions]):
        yield


def read_torch_file(path: Path) -> Any:
    """Return the content of a file that ``torch.save`` wrote, on the CPU; no code in the file is ever run.

    Raises UserError if it can't be read.
    """
    try:
        with warnings.catch_warnings():  # a protocol that torch does not write is read, or answered below
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; make it readable, or give another") from error
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes make the unpickler raise anything, and its own advice is to run the code
        if others := _unsafe_types(path):
            raise UserError(
                f"{path} holds no weights or state that can be loaded safely, but objects that need code to be run "
                f"({_listed(others)}); {_SAVE_AGAIN}"
            ) from error
        raise UserError(
            f"{path} holds no weights or state that can be loaded safely ({type(error).__name__}); "
            "give a file of tensors, as torch.save or safetensors writes them"
        ) from error


def _unsafe_types(path: Path) -> list[str]:
    """Return the names of a file's types that torch does not build safely; none if the file is too old or damaged."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # as above
        return []


def _listed(names: Iterable[object]) -> str:
    """Return a few names for a message."""
    texts = [one_line(name, 120) for name in names]
    more = f" and {len(texts) - _MOST_LISTED} more" if len(texts) > _MOST_LISTED else ""
    return ", ".join(texts[:_MOST_LISTED]) + more


def load_weights(
    network: DLASeg, state: Mapping[str, Tensor], source: str = "the weights", other_classes: bool = False
) -> Loaded:
    """Load classification or segmentation weights, the authors', timm's or ours, into a network, in place.

    Classification weights fill a segmentation network's backbone alone. With ``other_classes``, so do segmentation
    weights in a classification network, and a classifier of another number of classes is left out. Return how much was
    filled.

    Raises UserError if a tensor is missing, unknown or of another shape; ``source`` names the weights in its message.
    """
    pools = isinstance(network.decoder, GlobalPool)
    state = without_unused(with_our_names(state, keep_head=pools), network)
    everything: Mapping[str, Tensor] = network.state_dict()
    left_out: tuple[str, ...] = ()
    has_other_decoder = _has_decoder(state) != _has_decoder(everything)  # one of pixels, one of whole images
    if all(name.startswith("backbone.") for name in state) or (other_classes and has_other_decoder):
        left_out = ("classifier",) if pools else ("decoder", "classifier")
        state = {name: tensor for name, tensor in state.items() if name.startswith("backbone.")}
    elif other_classes and _has_other_classes(state, everything):
        left_out = ("classifier",)
    state, expected = _without(state, left_out), _without(everything, left_out)
    require_fit(state, expected, source)
    network.load_state_dict(state, strict=False)
    return Loaded(source, _num_weights(expected), _num_weights(everything), left_out)


def require_fit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Raise UserError unless both have the same names and, under each, the same shape."""
    # Files older than PyTorch 0.4 do not count batches, and nothing depends on the count.
    lacking = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in expected]
    misshapen = [
        f"{name} {tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
        for name, tensor in state.items()
        if name in expected and tensor.shape != expected[name].shape
    ]
    for problem, names in (("lacks", lacking), ("has unknown", unknown), ("has misshapen", misshapen)):
        if names:
            raise UserError(
                f"{source} does not fit this network: it {problem} {_listed(names)}; "
                "check model.backbone, the other keys of model (aggregation, decoder, node, output_stride, upsample) "
                "and the number of classes"
            )


def _has_decoder(state: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("decoder.") for name in state)


def _has_other_classes(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    bias = state.get("classifier.bias")
    return bias is not None and bias.shape != expected["classifier.bias"].shape


def _without(state: Mapping[str, Tensor], parts: Iterable[str]) -> dict[str, Tensor]:
    prefixes = tuple(f"{part}." for part in parts)
    return {name: tensor for name, tensor in state.items() if not name.startswith(prefixes)}


def _num_weights(state: Mapping[str, Tensor]) -> int:
    return sum(not name.endswith("num_batches_tracked") for name in state)
