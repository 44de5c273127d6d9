"""What a manifest says of its units: which are finished, who has begun them, what failed in them."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from segdla.media.jobs.records import (
    JOURNALS,
    Record,
    UnitState,
    decode_part,
    encode_part,
    journal_name,
    numbers_in,
)
from segdla.media.jobs.stores import WORK, Store

_FAILURES = f"{WORK}/failed"


class Ledger:
    """The parts and journals of a manifest, as they are now. Raises UserError as its ``store`` does."""

    def __init__(self, store: Store):
        self._store = store
        self._suffix = ".parquet" if store.place.endswith(".parquet") else ".jsonl"

    def scan(self) -> tuple[set[int], dict[int, int], set[int]]:
        """Return the finished units, the last attempt at each unit, and those in which inputs failed."""
        ended = numbers_in(self._store.names(""), rf"part-(\d+){re.escape(self._suffix)}")
        attempts: dict[int, int] = {}
        for name in self._store.names(JOURNALS):
            if match := re.fullmatch(r"(\d+)\.(\d+)\.jsonl", name):
                unit, attempt = int(match[1]), int(match[2])
                attempts[unit] = max(attempt, attempts.get(unit, 0))
        return ended, attempts, numbers_in(self._store.names(_FAILURES), r"(\d+)")

    def has_attempt(self, unit: int, attempt: int) -> bool:
        """Return whether an attempt at a unit has begun."""
        return PurePath(journal_name(unit, attempt)).name in self._store.names(JOURNALS)

    def state(self, unit: int, attempts: int) -> UnitState:
        """Return what the journals of a unit's attempts say."""
        state = UnitState()
        for attempt in range(1, attempts + 1):
            state.add(self._store.read(journal_name(unit, attempt)))
        return state

    def failed_records(self) -> dict[int, dict[int, Record]]:
        """Return the records of the inputs that have failed so far, by unit and number."""
        ended, attempts, failures = self.scan()
        units = failures | (attempts.keys() - ended)
        return {unit: failed for unit in units if (failed := self.state(unit, attempts.get(unit, 0)).failed())}

    def part(self, unit: int) -> Sequence[Record]:
        """Return the records of a unit that is finished."""
        return decode_part(self._store.read(self._part_name(unit)), self._suffix)

    def write_part(self, unit: int, state: UnitState) -> None:
        """Finish a unit: write its part, and note whether inputs failed."""
        failures = f"{_FAILURES}/{unit:06}"
        if state.failed():
            self._store.create(failures, b"failed")
        self._store.replace(self._part_name(unit), encode_part(state.part(), self._suffix))
        if state.workers and not state.failed():  # in an earlier attempt something may have
            self._store.remove(failures)

    def _part_name(self, unit: int) -> str:
        return f"part-{unit:06}{self._suffix}"
