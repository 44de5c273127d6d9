"""Signs of life: each worker holds a file that it renews, and the others take over from one whose file is still.

Nobody compares clocks of two machines: a worker is dead if another one has watched its file for ``patience`` seconds
without a change. On one machine a lock tells at once, since the kernel takes it from a process that is killed.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segdla.errors import UserError
from segdla.media.jobs.stores import WORK, Store

PATIENCE = 60.0  # seconds
PAUSE = 1.0  # seconds between looks at what others do
_RENEWALS = 6  # in the time of patience
_WORKERS = f"{WORK}/workers"


def worker_name() -> str:
    """Return a name for this worker that no other has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Lease:
    """This worker's own sign of life, while ``held``, and those of others."""

    def __init__(self, store: Store, worker: str, patience: float = PATIENCE):
        self.worker = worker
        self.patience = patience
        self._store = store
        self._file = f"{_WORKERS}/{worker}"
        self._renewed = time.time()
        self._lapses = 0
        self._failure: UserError | None = None
        self._ended = threading.Event()
        self._seen: dict[str, tuple[bytes, float]] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be alive for the others; at the end, they need not wait before they take over what is left."""
        self._store.create(self._file, self._sign(0))
        with self._store.hold(self._file):
            thread = threading.Thread(target=self._renew, daemon=True)
            thread.start()
            try:
                yield
            finally:
                self._ended.set()
                thread.join()
                self._store.remove(self._file)

    def lapses(self) -> int:
        """Return how often this worker slept so long that others may have taken over.

        Raises UserError if its sign of life can't be renewed.
        """
        if self._failure is not None:
            raise self._failure
        return self._lapses + (time.time() - self._renewed > self.patience)

    def is_dead(self, worker: str) -> bool:
        """Return True if another worker has ended, or has shown no sign of life for as long as this one watches it."""
        file = f"{_WORKERS}/{worker}"
        try:
            sign = self._store.read(file)
        except FileNotFoundError:
            return True
        if json.loads(sign)["machine"] == _machine() and not self._store.is_held(file):
            return True
        before, since = self._seen.setdefault(worker, (sign, time.monotonic()))
        if before != sign:
            self._seen[worker] = sign, time.monotonic()
            return False
        return time.monotonic() - since > self.patience

    def _renew(self) -> None:
        count = 0
        while not self._ended.wait(self.patience / _RENEWALS):
            count += 1
            now = time.time()  # goes on while a machine is suspended
            if now - self._renewed > self.patience:
                self._lapses += 1
            try:
                self._store.renew(self._file, self._sign(count))
            except UserError as error:
                self._failure = error
                return
            self._renewed = now

    def _sign(self, count: int) -> bytes:
        return json.dumps({"machine": _machine(), "renewed": f"{count:012}"}).encode()


def _machine() -> str:
    """Return a name of this machine's kernel, which is what locks are local to."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text(encoding="ascii").strip() if boot.exists() else socket.gethostname()
