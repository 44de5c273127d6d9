"""A run's folder copied into object storage while the training goes on."""

import threading
import time
from contextlib import suppress
from pathlib import Path

from segdla.errors import UserError, one_line
from segdla.machine.remote.object_store import write_object
from segdla.machine.remote.urls import joined_url
from segdla.machine.terminal import say

_PATIENCE = 60.0  # seconds for a state that is being saved

State = tuple[int, int]


class Upload:
    """A thread that copies what is new in a run's folder to ``url``/NAME, each time it is asked to.

    A file that can't be copied is told, and tried again the next time. Raises UserError at once if nothing can be
    written there.
    """

    def __init__(self, folder: Path, url: str, config: str):
        self.folder = folder
        self.url = joined_url(url, folder.name)
        self._uploaded: dict[str, State] = {}
        self._asked = threading.Event()
        self._idle = threading.Event()
        self._is_ending = False
        self._failure = ""
        write_object(joined_url(self.url, config), (folder / config).read_bytes())  # else an hour's work shows it
        self._thread = threading.Thread(target=self._work, name="upload", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Begin to copy what is new, when the state that is being saved is on the disk."""
        self._idle.clear()
        self._asked.set()

    def settle(self) -> None:
        """Wait until what was asked for has been copied, or has failed."""
        self._idle.wait()

    def finish(self) -> None:
        """Copy what is left, and say what could not be copied."""
        self._is_ending = True
        self._asked.set()
        self._thread.join()
        left = self._new()
        if left:
            say(
                f"warning: {len(left)} files of {self.folder} are not in {self.url}, such as {sorted(left)[0]}"
                f"{self._failure}; copy the folder there yourself"
            )
        else:
            say(f"{self.folder} is in {self.url} too")

    def _work(self) -> None:
        is_last = False
        while not is_last:
            self._asked.wait()
            is_last = self._is_ending
            self._asked.clear()
            self._copy()
            self._idle.set()

    def _copy(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while any(self.folder.glob("*.partial")) and time.monotonic() < deadline:  # the state, by another thread
            time.sleep(0.05)
        for name, state in self._new().items():
            try:
                write_object(joined_url(self.url, name), (self.folder / name).read_bytes())
            except (UserError, OSError) as error:
                self._failure = f" ({one_line(error, 200)})"
                if not self._is_ending:
                    say(f"warning: the upload fails, and is tried again after the next evaluation{self._failure}")
                return
            self._uploaded[name] = state
        self._failure = ""

    def _new(self) -> dict[str, State]:
        """Return the files that have changed since they were copied, with their states."""
        states: dict[str, State] = {}
        for path in sorted(self.folder.rglob("*")):
            if ".partial" in path.name or path.name.startswith(".") or path.is_dir():
                continue
            with suppress(OSError):  # removed meanwhile
                state = path.stat()
                states[path.relative_to(self.folder).as_posix()] = state.st_mtime_ns, state.st_size
        return {name: state for name, state in states.items() if self._uploaded.get(name) != state}
