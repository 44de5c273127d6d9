"""A worker's way through a job: claim a unit, do and record its inputs, write its part; take over from the dead.

A unit is claimed by creating its next journal, ``journals/UNIT.ATTEMPT.jsonl``, which only one worker can. An input's
record is appended after its outputs are in place. A unit whose inputs all have records gets its part of the manifest.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from segdla.machine.remote.remote_path import RemotePath
from segdla.media.inputs import Input
from segdla.media.jobs.job_plan import JobPlan
from segdla.media.jobs.lease import PAUSE, Lease
from segdla.media.jobs.ledger import Ledger
from segdla.media.jobs.records import (
    DONE,
    FAILED,
    Record,
    UnitState,
    first_line,
    journal_name,
    last_line,
    record_line,
)
from segdla.media.jobs.stores import Journal
from segdla.media.outputs import Output
from segdla.media.picture_folder import sweep_partial
from segdla.media.run import Outcome, Recorder, Tally

Predicted = Callable[[Iterable[Input], Recorder], Tally]
"""Predicts inputs as they are claimed and tells each outcome; ``predict_files`` with all but these two arguments."""


@dataclass
class _OpenUnit:
    number: int
    attempt: int
    state: UnitState
    journal: Journal
    left: int
    lapses: int  # of the lease, when it was claimed


@dataclass(frozen=True)
class Progress:
    """How far a job is: inputs that are in finished units, those of them that failed, and all."""

    finished: int
    failed: int
    total: int


class Job:
    """A job as one of its workers sees it. ``retry_failed`` does what had failed before it began anew."""

    def __init__(self, plan: JobPlan, lease: Lease, output: Output, retry_failed: bool = False, pause: float = PAUSE):
        self.plan = plan
        self._store = plan.store
        self._ledger = Ledger(plan.store)
        self._lease = lease
        self._output = output
        self._pause = pause
        self._in_flight: dict[Input, tuple[_OpenUnit, int]] = {}
        self._lock = threading.Lock()  # of all that threads record
        self._busy = 0
        videos = range(plan.num_units - plan.videos, plan.num_units)  # they take longest, so they come first
        images = range(plan.num_units - plan.videos)
        start = hash(lease.worker) % max(1, len(images))  # workers begin at different places
        self._order = [*videos, *images[start:], *images[:start]]
        self._retried = self._ledger.failed_records() if retry_failed else None

    def work(
        self,
        predict: Predicted,
        on_wait: Callable[[int], None] = lambda _: None,
        units: Sequence[int] | None = None,
    ) -> Tally:
        """Do what nobody does, until nothing is left; what a worker leaves behind that dies meanwhile is done too.

        ``on_wait`` is called with the number of units that others are at. ``units`` are all, if none are given. Raises
        UserError if something can't be written, or the storage fails; all that is recorded stays.
        """
        tally, order = Tally(), self._order if units is None else units
        while True:
            try:
                tally += predict(self._claimed(order), self.record)
            finally:
                self._close_journals()
            if not self._busy:
                return tally
            on_wait(self._busy)
            time.sleep(self._pause)

    def progress(self) -> Progress:
        """Return how far all workers are."""
        ended, _, failures = self._ledger.scan()
        failed = sum(record["status"] == FAILED for unit in failures & ended for record in self._ledger.part(unit))
        return Progress(sum(map(self.plan.size, ended)), failed, self.plan.images + self.plan.videos)

    def failures(self) -> Iterator[Record]:
        """Yield the records of the inputs that failed."""
        ended, _, failures = self._ledger.scan()
        for unit in sorted(failures & ended):
            yield from (record for record in self._ledger.part(unit) if record["status"] == FAILED)

    def records(self, units: Iterable[int]) -> Iterator[Record]:
        """Yield the records of units that are finished."""
        for unit in units:
            yield from self._ledger.part(unit)

    def unfinished(self) -> list[int]:
        """Return the units that have no part yet, and those in which inputs failed if these are to be retried."""
        ended, _, failures = self._ledger.scan()
        done = ended if self._retried is None else ended - failures
        return [unit for unit in range(self.plan.num_units) if unit not in done]

    def record(self, entry: Input, outcome: Outcome) -> None:
        """Record that an input is through; its outputs are in place, or it failed. Raises UserError if it can't."""
        with self._lock:
            unit, number = self._in_flight.pop(entry)
            if unit.lapses != self._lease.lapses() and self._ledger.has_attempt(unit.number, unit.attempt + 1):
                return  # this worker slept, and another one has taken over
            record = self._record_of(entry, outcome)
            unit.journal.append(record_line(number, record))
            unit.state.records[number] = record
            unit.left -= 1
            if not unit.left:
                self._ledger.write_part(unit.number, unit.state)
                unit.journal.append(last_line())
                unit.journal.close()

    def _close_journals(self) -> None:
        """Let the records of units that are not through reach the others, if an error has ended the work."""
        for unit in {unit.number: unit for unit, _ in self._in_flight.values()}.values():
            unit.journal.close()
        self._in_flight.clear()

    def _record_of(self, entry: Input, outcome: Outcome) -> Record:
        failed = outcome.error is not None
        outputs = [str(path) for path in self._output.paths(entry).values()]
        return {
            "input": entry.path,
            "etag": outcome.etag,
            "output": None if failed else outputs,
            "status": FAILED if failed else DONE,
            "seconds": round(outcome.seconds, 6),
            "error": str(outcome.error) if failed else None,
            "finished": round(time.time(), 3),
        }

    def _claimed(self, order: Sequence[int]) -> Iterator[Input]:
        """Yield the inputs of units as they are claimed: first those that nobody began, then what the dead left."""
        collided = True
        while collided:
            ended, attempts, _ = self._ledger.scan()
            collided = False
            for unit in order:
                if unit in ended or unit in attempts:
                    continue
                if not self._claim(unit, 1):
                    collided = True  # others are here: look again at what they have
                    break
                yield from self._begin(unit, 1, UnitState(), list(range(self.plan.size(unit))))
        yield from self._left_behind(order)

    def _left_behind(self, order: Sequence[int]) -> Iterator[Input]:
        ended, attempts, failures = self._ledger.scan()
        self._busy = 0
        mine = {unit.number for unit, _ in self._in_flight.values()}
        for unit in order:
            is_retried = self._retried is not None and unit in failures
            if unit in mine or (unit in ended and not is_retried):
                continue
            state = self._ledger.state(unit, attempts.get(unit, 0))
            left = state.left(self.plan.size(unit), (self._retried or {}).get(unit, {}))
            if not left and unit in ended and state.ended:
                continue
            attempt = attempts.get(unit, 0) + 1
            if not state.ended and not self._are_dead(state):
                self._busy += 1
            elif not left:  # killed between the last record and the part
                self._sweep(state)
                self._ledger.write_part(unit, state)
            elif self._claim(unit, attempt):
                yield from self._begin(unit, attempt, state, left)
            else:
                self._busy += 1

    def _are_dead(self, state: UnitState) -> bool:
        return all(self._lease.is_dead(worker) for worker in state.workers[-1:])

    def _begin(self, unit: int, attempt: int, state: UnitState, left: list[int]) -> Iterator[Input]:
        inputs = self.plan.inputs(unit)
        self._sweep(state, [inputs[number] for number in left])
        journal = self._store.journal(journal_name(unit, attempt))
        opened = _OpenUnit(unit, attempt, state, journal, len(left), self._lease.lapses())
        entries = [inputs[number] for number in left]
        self._in_flight.update(zip(entries, ((opened, number) for number in left), strict=True))
        yield from entries

    def _sweep(self, state: UnitState, inputs: Sequence[Input] = ()) -> None:
        for worker in dict.fromkeys(state.workers):
            self._store.sweep(worker)
            for path in (path for entry in inputs for path in self._output.paths(entry).values()):
                if not isinstance(path, RemotePath):  # objects appear whole
                    sweep_partial(path, worker)

    def _claim(self, unit: int, attempt: int) -> bool:
        return self._store.create(journal_name(unit, attempt), first_line(self._lease.worker))
