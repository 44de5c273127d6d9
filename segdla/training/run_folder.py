"""The folder of a run: its name, its config, and the lock that keeps it for one process.

It holds config.yaml, last.pt (the state to resume from), best.safetensors (the checkpoint), metrics.jsonl, curves.png,
samples/ and TensorBoard's events. ``segdla train`` adds scores.json at the end, ``segdla test`` eval_*.json.
"""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from segdla.errors import UserError, quoted
from segdla.machine.files import owned, require_text, unused, write_text
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
        remedy = f"resume it (--resume {folder})" if (folder / CONFIG).is_file() else "remove it: it holds no run"
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
def config_in_place(
    run: Path, config: str, training: Training, *, is_new: bool, another: Callable[[], Path] | None = None
) -> Iterator[Path]:
    """Write a run's config and yield the run's folder; that of a new run is made and occupied.

    ``another`` gives the folder of a new run if another process has made ``run`` in the meantime. If training fails in
    its first step, all is as before: a new run's folder is gone, a resumed run has its old config.

    Raises UserError if a new run's folder is taken, or something can't be written.
    """
    first_step = training.step
    run = _made(run, another) if is_new else run
    before = _write_config(run, config, is_new)
    with occupied(run) if is_new else nullcontext():
        try:
            yield run
        except Exception:
            if training.step == first_step:
                if before is None:
                    shutil.rmtree(run)
                else:
                    write_text(run / CONFIG, before)
            raise


def _made(run: Path, another: Callable[[], Path] | None) -> Path:
    """Make the folder of a new run, and return it."""
    while True:
        try:
            run.mkdir(parents=True)
            return run
        except FileExistsError:
            if another is None:
                raise UserError(f"{run} was made by another run just now; choose another name (--name)") from None
            run = another()
        except OSError as error:
            remedy = "choose another folder of runs (--runs), or make room"
            raise UserError(f"cannot write {run}: {error.strerror}; {remedy}") from error


def _write_config(run: Path, config: str, is_new: bool) -> str | None:
    """Write a run's config and return the one that was there before."""
    try:
        before = None if is_new else (run / CONFIG).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {run / CONFIG}: {error.strerror}; make it readable") from error
    try:
        write_text(run / CONFIG, config)
    except UserError:
        if is_new:
            run.rmdir()
        raise
    return before
