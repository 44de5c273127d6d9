"""Find the checkpoint that is meant: a run, a file, an address on the hub or, if none is named, the default."""

import os
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from segdla.checkpoints import hub
from segdla.checkpoints.checkpoint import BEST, read_card
from segdla.data.scenes import Scenes
from segdla.errors import UserError
from segdla.machine.hub_file import is_address
from segdla.machine.remote.remote_path import as_path, local_file
from segdla.machine.remote.urls import is_url

SHIPPED = Path(__file__).parents[1] / "shipped" / "camvid_compact.safetensors"
"""A small network for street scenes that comes with the package; the README beside it says how good it is."""


class Found(NamedTuple):
    """A checkpoint file; ``reason`` says why it was chosen, if none was named.

    ``in_cache``: it lies in the hub's cache, where nothing else belongs.
    """

    path: Path
    reason: str = ""
    in_cache: bool = False

    def __str__(self) -> str:
        return f"{self.path} ({self.reason})" if self.reason else str(self.path)

    @property
    def folder_of_results(self) -> Path:
        """The folder for results: the checkpoint's or, if that is not the user's own, the current one."""
        return Path() if self.in_cache or self.path.resolve() == SHIPPED.resolve() else self.path.parent


def find_checkpoint(
    checkpoint: str | os.PathLike[str] | None, runs: Path = Path("runs"), *, for_photographs: bool = False
) -> Found:
    """Return the file of a run, a path, a URL or ``hf://OWNER/NAME``; without one, the default.

    The default is the best checkpoint of the newest run in ``runs`` and, before there is any, the network that comes
    along. With ``for_photographs``, runs that were trained on drawn scenes are passed over.

    Raises UserError if there is no checkpoint where one is named.
    """
    if checkpoint is None:
        return _default(runs, for_photographs)
    place = os.fspath(checkpoint)
    if is_url(place):
        return _in_storage(as_path(place))
    if is_address(place):
        return Found(hub.download(place), in_cache=True)
    path = Path(place)
    if path.is_dir():
        if not (path / BEST).is_file():
            raise UserError(f"{path} has no {BEST}: no evaluation has finished there; resume it, or name another run")
        return Found(path / BEST)
    if not path.is_file():
        raise UserError(f"no run or checkpoint at {path}; runs are folders such as {runs}/NAME")
    return Found(path)


def _in_storage(path: Path) -> Found:
    """Return the file here of a run's folder or a checkpoint in storage."""
    path = path / BEST if path.is_dir() else path
    if path.suffix == ".bin":
        raise UserError(f"{path} holds the weights of an exported network; name {path.with_suffix('.xml').name} there")
    beside = [".bin"] if path.suffix == ".xml" else []
    try:
        return Found(local_file(path, *beside), str(path), in_cache=True)
    except OSError as error:
        place = error.filename or path
        raise UserError(f"no run or checkpoint at {place}: {error.strerror}; check bucket and name") from error


def _default(runs: Path, for_photographs: bool) -> Found:
    if not runs.is_dir() and runs != Path("runs"):
        raise UserError(f"no folder of runs at {runs}; check runs (--runs), or name a checkpoint (--checkpoint)")
    newest_first = sorted(runs.glob(f"*/{BEST}"), key=lambda path: path.stat().st_mtime, reverse=True)
    passed_over = list(takewhile(_knows_drawn_scenes_alone, newest_first)) if for_photographs else []
    names = ", ".join(str(path.parent) for path in passed_over)
    fault = f"{'know' if len(passed_over) > 1 else 'knows'} drawn scenes alone"
    if len(passed_over) < len(newest_first):
        exception = f" but for {names}, which {fault}" if passed_over else ""
        newest = newest_first[len(passed_over)]
        return Found(newest, f"the newest run{exception}{_score(newest)}")
    why = f"{names} {fault}; to use it, name it" if passed_over else "there is no run yet"
    return Found(SHIPPED, f"the small street-scene network that comes along, because {why}")


def _score(path: Path) -> str:
    """Return the score of a checkpoint for the line that says why it was chosen: an interrupted run's may be poor."""
    scores = read_card(path).scores
    return "" if scores is None else f", {scores.measured} % on {scores.split}"


def _knows_drawn_scenes_alone(path: Path) -> bool:
    # Classes are those of the data that was trained on, even if it was handed in beside a config of other data.
    return read_card(path).classes.protocol == Scenes.classes.protocol
