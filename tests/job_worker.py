"""A worker of a job, in this process, that can be killed at any of its steps in the manifest and in the outputs."""

import json
import os
from contextlib import ExitStack, contextmanager

from support import photo, write

from segdla.errors import UserError
from segdla.machine.files import partial_path
from segdla.media.inputs import listed_inputs
from segdla.media.jobs.job import Job
from segdla.media.jobs.lease import Lease
from segdla.media.jobs.planning import make_plan
from segdla.media.jobs.stores import FolderStore
from segdla.media.outputs import Output
from segdla.media.run import Outcome, Tally, _write

WANTED = {"network": "a", "inputs": ["album"]}


class Killed(BaseException):
    """In the place of SIGKILL: nobody catches it."""


class MortalStore(FolderStore):
    """A store whose worker is killed at its step of number ``fatal``: before, in or after what it writes."""

    def __init__(self, folder, worker, fatal=None):
        super().__init__(folder, worker)
        self.steps, self.fatal, self.locks = 0, fatal, ExitStack()

    @property
    def is_dead(self):
        return self.fatal is not None and self.steps >= self.fatal

    def step(self):
        self.steps += 1
        if self.is_dead:
            self.locks.close()  # as the kernel does
            raise Killed

    @contextmanager
    def hold(self, name):
        self.locks.enter_context(super().hold(name))
        yield
        self.locks.close()

    def remove(self, name):
        if not self.is_dead:
            super().remove(name)

    def create(self, name, content):
        self.step()
        made = super().create(name, content)
        self.step()
        return made

    def replace(self, name, content):
        self.step()
        self._staged(name, content[: len(content) // 2])
        self.step()
        super().replace(name, content)
        self.step()

    def journal(self, name):
        journal = super().journal(name)
        whole = journal.append

        def append(line):
            self.step()
            if self.steps + 1 == self.fatal:  # a line that is cut short
                os.write(journal._file, line[: len(line) // 2])
            self.step()
            whole(line)
            self.step()

        journal.append = append
        return journal


class MortalOutput(Output):
    """Outputs of a worker, which is killed before, in or after writing one."""

    def write(self, entry, image, class_ids):
        self.store.step()
        partial = partial_path(self.paths(entry)["ids"])
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(b"half")
        self.store.step()
        super().write(entry, image, class_ids)
        self.written.append(entry.name)
        self.store.step()


class Worker:
    """One worker of the job of predicting ``folder/album``, with half a second for signs of life."""

    def __init__(self, folder, name="one", fatal=None, broken=(), retry_failed=False, patience=30, wanted=WANTED):
        self.folder, self.name, self.broken, self.retry_failed, self.wanted = folder, name, broken, retry_failed, wanted
        self.store = MortalStore(folder / "jobs.jsonl", name, fatal)
        self.lease = Lease(self.store, name, patience)
        self.output = MortalOutput(folder / "out", ("ids",), ("a",), ((0, 0, 0),))
        object.__setattr__(self.output, "store", self.store)
        object.__setattr__(self.output, "written", [])

    def __call__(self, predict=None):
        """Work until nothing is left; return the tally."""
        with self.lease.held():
            self.job = self.open()
            return self.job.work(predict or self.predict)

    def open(self):
        def inputs():
            return listed_inputs([str(self.folder / "album")])

        plan = make_plan(self.store, self.lease, self.wanted, inputs, lambda plan: None, pause=0.01)
        return Job(plan, self.lease, self.output, self.retry_failed, pause=0.01)

    def predict(self, inputs, record):
        tally = Tally()
        for entry in inputs:
            if entry.name in self.broken:
                record(entry, Outcome("etag", 0.5, UserError(f"{entry.path} is broken")))
                tally.failed += 1
            else:
                image = photo(8, 8, int(entry.name))
                _write(self.output, entry, image, image[..., 0], Outcome("etag", 0.5), record)
                tally.done += 1
        return tally

    @property
    def written(self):
        return self.output.written


def album(folder, count=4):
    for index in range(count):
        write(folder / "album" / f"{index}.png", photo(8, 8, index))


def records(folder):
    """The records in the parts of the manifest, in order."""
    parts = sorted((folder / "jobs.jsonl").glob("part-*"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def outputs(folder):
    return {path.name: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
