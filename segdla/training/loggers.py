"""Loggers: where a run's numbers and pictures go besides its own files. A function of a few lines opens each.

Those other than TensorBoard are extras (``pip install "segdla[wandb]"``), imported when they are asked for.
"""

import json
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segdla.errors import UserError, one_line
from segdla.machine.files import write_json
from segdla.machine.terminal import say

PROJECT = "segdla"
_IDS = "loggers.json"  # in the run's folder: what each logger calls the run, so that a resumed run goes on there


class Logger(NamedTuple):
    """An open record of a run; ``name`` is what the logger calls the run."""

    name: str
    scalars: Callable[[dict[str, float], int], object]  # by name, at a step
    picture: Callable[[str, np.ndarray, int], object]  # RGB (H,W,3) uint8
    close: Callable[[], object]


@dataclass(frozen=True)
class LoggedRun:
    """A run as a logger has to know it; ``known`` is what the logger called it before, if it is resumed."""

    folder: Path
    settings: Mapping[str, Any]
    first_step: int
    known: str | None = None


def tensorboard(logged: LoggedRun) -> Logger:
    from torch.utils.tensorboard import SummaryWriter

    events = SummaryWriter(str(logged.folder), purge_step=logged.first_step + 1)

    def scalars(values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            events.add_scalar(name, value, step)

    def picture(name: str, pixels: np.ndarray, step: int) -> None:
        events.add_image(name, pixels, step, dataformats="HWC")

    show = threading.excepthook

    def show_others(failure: threading.ExceptHookArgs) -> None:
        # Its thread keeps an error of the disk, which the next call raises here.
        if not (isinstance(failure.exc_value, OSError) and type(failure.thread).__module__.startswith("tensorboard.")):
            show(failure)

    def close() -> None:
        try:
            events.close()
        finally:
            threading.excepthook = show

    threading.excepthook = show_others
    return Logger(logged.folder.name, scalars, picture, close)


def wandb(logged: LoggedRun) -> Logger:
    import wandb

    run = wandb.init(
        project=PROJECT, name=logged.folder.name, id=logged.known, resume="allow", dir=str(logged.folder),
        config=dict(logged.settings),
    )  # fmt: skip
    return Logger(run.id, run.log, lambda name, pixels, step: run.log({name: wandb.Image(pixels)}, step), run.finish)


def mlflow(logged: LoggedRun) -> Logger:
    import mlflow

    run = mlflow.start_run(run_id=logged.known, run_name=logged.folder.name)
    if logged.known is None:  # parameters can't be changed later
        mlflow.log_params(logged.settings.get("train", {}))
    mlflow.log_dict(dict(logged.settings), "config.json")

    def scalars(values: dict[str, float], step: int) -> None:
        mlflow.log_metrics({re.sub(r"[^\w\-./: ]", "_", name): value for name, value in values.items()}, step)

    def picture(name: str, pixels: np.ndarray, step: int) -> None:
        mlflow.log_image(pixels, f"{name}_{step:07}.png")

    return Logger(run.info.run_id, scalars, picture, mlflow.end_run)


def trackio(logged: LoggedRun) -> Logger:
    import trackio

    resume = "allow" if logged.known else "never"
    name = logged.known or logged.folder.name
    run = trackio.init(PROJECT, name, config=dict(logged.settings), resume=resume)

    def picture(name: str, pixels: np.ndarray, step: int) -> None:
        trackio.log({name: trackio.Image(pixels)}, step)

    return Logger(run.name, trackio.log, picture, trackio.finish)


LOGGERS: dict[str, Callable[[LoggedRun], Logger]] = {
    "tensorboard": tensorboard,
    "wandb": wandb,
    "mlflow": mlflow,
    "trackio": trackio,
}
"""Functions that open a record, by the names that ``train.logger`` takes."""


def require_installed(names: Sequence[str]) -> None:
    """Raise UserError if the package of a logger is missing."""
    for name in names:
        if find_spec(name) is None:
            raise UserError(
                f'train.logger names {name}, which is not installed; pip install "segdla[{name}]", or leave it out'
            )


class Loggers:
    """The open records of a run. One that fails is told once and used no more: no record is worth a run.

    TensorBoard's files are the run's own, so an error of the disk is raised there, as for all of them.
    """

    def __init__(self, names: Sequence[str], folder: Path, settings: Mapping[str, Any], first_step: int):
        known = _known(folder / _IDS)
        self.open: dict[str, Logger] = {}
        for name in dict.fromkeys(names):
            with self._told(name):
                self.open[name] = LOGGERS[name](LoggedRun(folder, settings, first_step, known.get(name)))
        others = {name: logger.name for name, logger in self.open.items() if name != "tensorboard"}
        if others:
            write_json(folder / _IDS, {**known, **others})

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Record numbers by name. NaN, as of a class that is absent, is for TensorBoard alone."""
        numbers = {name: value for name, value in values.items() if not math.isnan(value)}
        for name, logger in list(self.open.items()):
            with self._told(name):
                logger.scalars(dict(values) if name == "tensorboard" else numbers, step)

    def picture(self, name: str, pixels: np.ndarray, step: int) -> None:
        """Record a picture, RGB (H,W,3) uint8."""
        for logger_name, logger in list(self.open.items()):
            with self._told(logger_name):
                logger.picture(name, pixels, step)

    def close(self) -> None:
        """End the records."""
        for name, logger in list(self.open.items()):
            with self._told(name):
                logger.close()

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Tell the first error of a logger, and go on without it."""
        try:
            yield
        except Exception as error:
            if name == "tensorboard":
                raise
            self.open.pop(name, None)
            reason = " ".join(str(error).split()) or type(error).__name__
            say(f"{name} fails, and records no more of this run: {one_line(reason, 300)}")


def _known(path: Path) -> dict[str, str]:
    """Return the names of a run by logger; none if the file is missing or damaged, and records then begin anew."""
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: known for name, known in names.items() if isinstance(known, str)} if isinstance(names, dict) else {}
