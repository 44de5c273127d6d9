"""The folder of a run: its name, its config, and the lock that keeps it for one process.

It holds config.yaml, last.pt (the state to resume from), best.safetensors (the checkpoint), metrics.jsonl, curves.png,
samples/ and TensorBoard's events. ``segdla train`` adds scores.json at the end, ``segdla test`` eval_*.json.
"""

import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from segdla.errors import UserError, in_shell, quoted
from segdla.machine.files import owned, partial_path, put_in_place, require_text, unused, write_text
from segdla.training.relaunch import Launch
from segdla.training.state import Training

CONFIG = "config.yaml"
_LOCK = ".lock"


@dataclass(frozen=True)
class Run(os.PathLike[str]):
    """A run's folder, usable wherever a path is. ``finished`` is False if a signal stopped the run: ``stopped_by``."""

    folder: Path
    finished: bool
    stopped_by: signal.Signals | None = None

    def __fspath__(self) -> str:
        return str(self.folder)


def new_folder(runs: Path, name: str | None, default: str) -> Path:
    """Return the folder of a new run in ``runs``: ``name``, or ``default``, which is numbered if it is taken.

    Raises UserError if ``name`` is taken or is none of a folder in ``runs``, or the path is no text.
    """
    if name is not None and (name != Path(name).name or name in ("", "..")):
        raise UserError(f"a run can't be named {quoted(name)}: give a name without / (--name); --runs is its folder")
    folder = runs / (name or default)
    require_text(folder, "choose another name (--name) or folder of runs (--runs)")
    if name and folder.exists():
        remedy = (
            f"resume it (--resume {in_shell(folder)})" if (folder / CONFIG).is_file() else "remove it: it holds no run"
        )
        raise UserError(f"{folder} exists; choose another name (--name), or {remedy}")
    return unused(folder)


@contextmanager
def occupied(run: Path) -> Iterator[None]:
    """Keep a run for this process alone, however it ends. Raises UserError if another process has it."""
    with ExitStack() as lock:
        try:
            is_ours = lock.enter_context(owned(run / _LOCK))
        except OSError as error:
            raise UserError(
                f"cannot write {run}: {error.strerror}; copy it to where you can, and resume that"
            ) from error
        if not is_ours:
            raise UserError(f"{run} is being trained by another process; let it finish or stop it, then resume")
        yield


@contextmanager
def begun(run: Path, config: str, launch: Launch, training: Training, another: Callable[[], Path]) -> Iterator[Path]:
    """Make the folder of a new run with its first files, keep it for this process, and yield it.

    ``another`` gives the folder if ``run`` is taken by now. A folder has its name only when it is whole: a run that is
    killed before can be begun once more under the same name. If training fails in its first step, the folder is gone.

    Raises UserError if something can't be written.
    """
    first_step, folder = training.step, partial_path(run, owner=uuid4().hex)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise _cannot_make(run, error) from error
    with ExitStack() as lock:
        try:
            lock.enter_context(occupied(folder))
            launch.write(folder)
            write_text(folder / CONFIG, config)
            run = _named(folder, run, another)
        except BaseException:  # Ctrl-C too
            shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            yield run
        except Exception:
            if training.step == first_step:
                shutil.rmtree(run)
            raise


@contextmanager
def continued(run: Path, config: str, launch: Launch, training: Training) -> Iterator[Path]:
    """Write the config that a run is resumed with, and yield its folder; the old one is back if its first step fails.

    Raises UserError if something can't be read or written.
    """
    first_step = training.step
    try:
        before = (run / CONFIG).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {run / CONFIG}: {error.strerror}; make it readable") from error
    launch.write(run)
    write_text(run / CONFIG, config)
    try:
        yield run
    except Exception:
        if training.step == first_step:
            write_text(run / CONFIG, before)
        raise


def _named(folder: Path, run: Path, another: Callable[[], Path]) -> Path:
    """Give a new run's folder its name, or that of ``another`` if it is taken, and return it."""
    while True:
        try:
            put_in_place(folder, run)
            return run
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise _cannot_make(run, error) from error
            run = another()


def _cannot_make(run: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {run}: {error.strerror}; choose another folder of runs (--runs), or make room")
