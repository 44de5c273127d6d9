"""A run's folder copied into object storage while the training goes on."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from segdla.errors import UserError, one_line
from segdla.machine.remote.object_store import write_object
from segdla.machine.remote.urls import joined_url
from segdla.machine.terminal import say

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
        self._pool = ThreadPoolExecutor(1, "upload")
        self._copying: Future[None] | None = None  # the last that was asked for
        self._is_ending = False
        self._failure = ""
        write_object(joined_url(self.url, config), (folder / config).read_bytes())  # else an hour's work shows it

    def ask(self) -> None:
        """Begin to copy what is new."""
        if self._copying is None or self._copying.running() or self._copying.done():  # one that waits will see it all
            self._copying = self._pool.submit(self._copy)

    def settle(self) -> None:
        """Wait until what was asked for has been copied, or has failed."""
        if self._copying is not None:
            self._copying.result()

    def finish(self) -> None:
        """Copy what is left, and say what could not be copied."""
        self._is_ending = True
        self.ask()
        self._pool.shutdown()
        left = self._new()
        if left:
            say(
                f"warning: {len(left)} files of {self.folder} are not in {self.url}, such as {sorted(left)[0]}"
                f"{self._failure}; copy the folder there yourself"
            )
        else:
            say(f"{self.folder} is in {self.url} too")

    def _copy(self) -> None:
        try:
            for name, state in self._new().items():
                write_object(joined_url(self.url, name), (self.folder / name).read_bytes())
                self._uploaded[name] = state
            self._failure = ""
        except (UserError, OSError) as error:
            self._failure = f" ({one_line(error, 200)})"
            if not self._is_ending:
                say(f"warning: the upload fails, and is tried again after the next evaluation{self._failure}")

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
