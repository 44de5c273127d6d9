"""Files of a run: weights with all that is needed to use them, the state to resume from, and how runs are found.

runs/<name>/    config.yaml, metrics.jsonl, curves.png, samples/, events of TensorBoard,
                best.safetensors (weights; its header says what they are), last.pt (training state), eval_*.json
"""

import errno
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from segdla import hub
from segdla.data.memory import NO_LOCKS
from segdla.errors import UserError
from segdla.models.weights import read_torch_file

try:
    import fcntl
except ImportError:  # not on Windows: there runs are not kept apart
    fcntl = None

BEST = "best.safetensors"
CONFIG = "config.yaml"
LAST = "last.pt"
SHIPPED = Path(__file__).parent / "shipped" / "camvid_compact.safetensors"
"""A small network for street scenes that comes with the package; the card beside it says what it can do."""
_FORMAT = "segdla checkpoint 1"
_LOCK = ".lock"


class Checkpoint(NamedTuple):
    path: Path
    state_dict: dict[str, Tensor]
    card: dict[str, Any]  # config, classes, palette, protocol, scores, step, version


def save_weights(path: Path, state_dict: dict[str, Tensor], card: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
    content = save(tensors, metadata={"format": _FORMAT, "card": json.dumps(card)})
    _write_whole(path, lambda file: file.write(content))


def read_weights(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises UserError where the file is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state_dict = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is not a checkpoint of segdla ({error}); give a run or its {BEST}") from error
    if metadata.get("format") != _FORMAT:
        raise UserError(
            f"{path} holds weights but was not written by segdla's training; start from it with model.weights={path}"
        )
    try:
        return Checkpoint(path, state_dict, json.loads(metadata["card"]))
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is a damaged checkpoint: its card can't be read ({error}); take another") from error


def save_training(path: Path, state: dict[str, Any]) -> None:
    """Write the training state, whole or not at all."""
    _write_whole(path, lambda file: torch.save(state, file))


def read_training(run: Path) -> dict[str, Any] | None:
    """The training state of a run; None where it ended before it had any. Raises UserError where it can't be read."""
    if not (run / LAST).is_file():
        return None
    try:
        return read_torch_file(run / LAST)
    except UserError as error:
        if isinstance(error.__cause__, OSError):  # of the disk's, and not of what the file holds
            raise
        raise UserError(
            f"{run / LAST} is cut short or damaged: no state can be loaded safely from it; start a new run from its "
            f"weights with model.weights={run / BEST}"
        ) from error


def save_text(path: Path, text: str) -> None:
    """Write a file of a run, whole or not at all."""
    _write_whole(path, lambda file: file.write(text.encode()))


@contextmanager
def occupied(run: Path) -> Iterator[None]:
    """Keeps a run for this process alone; goes with it however it ends. Raises UserError where another has the run."""
    if fcntl is None:
        yield
        return
    try:
        opened = (run / _LOCK).open("a")
    except OSError as error:
        raise UserError(f"cannot write {run}: {error.strerror}; copy it to where you can, and resume that") from error
    with opened as file:
        try:
            # The process's own lock: the file's would live on in workers that were forked, when this one is killed.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise UserError(
                    f"{run} is being trained by another process; let it finish or stop it, then resume"
                ) from error
            if error.errno not in NO_LOCKS:
                raise
        yield


def find_checkpoint(place: str | None, runs: Path = Path("runs")) -> Path:
    """The checkpoint file of a run, a path or ``hf://OWNER/NAME``; the default one where no place is given."""
    if place is None:
        return default_checkpoint(runs)
    if hub.is_address(place):
        return hub.download(place)
    path = Path(place)
    if path.is_dir():
        if not (path / BEST).is_file():
            raise UserError(f"{path} has no {BEST}: no evaluation has finished there; resume it, or name another run")
        return path / BEST
    if not path.is_file():
        raise UserError(f"no run or checkpoint at {path}; runs are folders such as {runs}/NAME")
    return path


def default_checkpoint(runs: Path) -> Path:
    """What is used where nobody names a model: the best of the newest run below ``runs``; before any, ``SHIPPED``."""
    if not runs.is_dir() and runs != Path("runs"):
        raise UserError(f"no folder of runs at {runs}; check --runs, or name a --checkpoint")
    found = sorted(runs.glob(f"*/{BEST}"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else SHIPPED


def named(place: str | None, path: Path) -> str:
    """The checkpoint that was found at ``place``, in words; more of them for who named none."""
    if place is None and path == SHIPPED:
        return f"no run yet, so the small street-scene network that comes along, {path}"
    return str(path)


def folder_of_results(place: str | None, checkpoint: Path) -> Path:
    """Where what comes of a checkpoint goes: beside it, or here, if the one at ``place`` is nobody's own."""
    of_nobody = checkpoint.resolve() == SHIPPED.resolve() or hub.is_address(place or "")
    return Path() if of_nobody else checkpoint.parent


def plain(value: Any) -> Any:
    """A value of dicts and numbers as JSON can hold it: None for what is no number."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def unused(path: Path) -> Path:
    """``path``, or the first of ``path-2``, ``path-3``, ... that does not exist yet; a file keeps its suffix."""
    stem, suffix = (path.name, "") if path.is_dir() else (path.stem, path.suffix)
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{stem}-{number}{suffix}")
    return free


def _write_whole(path: Path, write: Callable) -> None:
    # Under another name first, so that a crash or a full disk leaves the previous file as it was.
    temporary = path.with_name(path.name + ".partial")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            temporary.unlink()
        # torch.save, cut short, complains of its own file; the disk's error is what came before.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise UserError(
            f"cannot write {path}: {cause.strerror}; what was there before is untouched; make room and try again"
        ) from error


def _sync_folder(folder: Path) -> None:
    # The new name is on disk only when the folder is; Windows has no such thing.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):  # nor have some network file systems
                raise
        finally:
            os.close(descriptor)
