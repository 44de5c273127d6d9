"""A run that torchrun starts again after a process or a machine was lost: found again, and cut into the same parts.

torchrun starts the same command anew, in other processes. A run's folder holds the names of the torchruns that train
it. A command that one of them has started goes on with that run, whatever its words are.
"""

import json
import os
import re
import socket
from glob import escape
from pathlib import Path
from typing import NamedTuple

from segdla.errors import UserError
from segdla.machine import distributed
from segdla.machine.files import write_text

_FILE = ".launch.json"


class Launch(NamedTuple):
    """What trains a run: the torchruns that started its processes, the first of the processes, and their number."""

    torchruns: tuple[str, ...]
    process: str
    world_size: int

    @classmethod
    def here(cls) -> "Launch":
        """Return the launch of this command; all of its processes call this together."""
        everywhere = distributed.gathered((_torchrun(), f"{socket.gethostname()} {os.getpid()}"))
        return cls(tuple(sorted({name for name, _ in everywhere if name})), everywhere[0][1], len(everywhere))

    @classmethod
    def of(cls, folder: Path) -> "Launch | None":
        """Return the launch that a run was last trained by; None if its folder doesn't tell."""
        try:
            values = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            return cls(tuple(map(str, values["torchruns"])), str(values["process"]), int(values["world_size"]))
        except (OSError, ValueError, KeyError, TypeError):  # an older run, or a damaged file: nothing is known
            return None

    def write(self, folder: Path) -> None:
        """Write the launch into a run's folder. Raises UserError if that fails."""
        write_text(folder / _FILE, json.dumps(self._asdict()))

    def has_begun(self, folder: Path) -> bool:
        """Return whether a run was begun by one of the same torchruns, in an earlier process."""
        earlier = Launch.of(folder)
        return (
            earlier is not None and earlier.process != self.process and bool({*earlier.torchruns} & {*self.torchruns})
        )


def _torchrun() -> str:
    """Return a name that no other torchrun has, and that this one keeps when it starts its processes again."""
    folders = Path(os.environ.get("TORCHELASTIC_ERROR_FILE", "")).parents  # .../NAME/attempt_0/0/error.json
    return f"{socket.gethostname()} {folders[2].name}" if len(folders) > 3 else ""


def interrupted(runs: Path, name: str | None, default: str, config: str) -> Path | None:
    """Return the run that this command, before torchrun started it again, trained in ``runs``; None if there is none.

    It is called ``name``, or ``default`` with or without a number. Of several, as of a program that trains one after
    the other, it is the first that this process has not resumed yet.
    """
    launch = Launch.here()

    def find() -> Path | None:
        pattern = re.compile(re.escape(name) if name else re.escape(default) + r"(-\d+)?")
        folders = [path for path in runs.glob(f"{escape(name or default)}*") if pattern.fullmatch(path.name)]
        folders = [path for path in folders if (path / config).is_file() and launch.has_begun(path)]
        return min(folders, key=lambda path: (len(path.name), path.name), default=None)

    return distributed.on_main(find) if launch.torchruns else None


def same_parts(folder: Path, batch_size: int, accumulate: int) -> int:
    """Return the number of parts in which each process takes its share of a step, so that none is larger than before.

    ``accumulate`` is that number in the run's config. With half as many processes it doubles, and each part holds the
    same images as before. Raises UserError if the batch can't be dealt out to the processes that there are.
    """
    earlier, world_size = Launch.of(folder), distributed.world_size()
    if earlier is None or earlier.world_size == world_size:
        return accumulate
    if batch_size % world_size:
        possible = ", ".join(str(number) for number in range(1, batch_size + 1) if batch_size % number == 0)
        raise UserError(
            f"{folder} has train.batch_size {batch_size}, which can't be dealt out evenly to {world_size} processes; "
            f"give it another number of them (torchrun --nnodes, --nproc_per_node): {possible}"
        )
    share, parts = batch_size // world_size, earlier.world_size * accumulate
    return next(number for number in range(1, share + 1) if share % number == 0 and number * world_size >= parts)
