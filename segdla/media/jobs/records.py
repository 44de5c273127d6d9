"""What is known about a unit of work: the lines of its journals, one journal for each worker that began it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segdla.media.jobs.stores import WORK

Record = dict[str, Any]
"""One input: ``input``, ``etag``, ``output`` (a path for each kind), ``status`` (done, failed), ``seconds`` (that it
took to be read, predicted and written), ``error``, ``finished`` (seconds since 1970)."""
DONE, FAILED = "done", "failed"
JOURNALS = f"{WORK}/journals"
_END = b'{"end": true}'


def first_line(worker: str) -> bytes:
    """Return the line that a worker claims a unit by."""
    return json.dumps({"worker": worker}).encode() + b"\n"


def record_line(number: int, record: Record) -> bytes:
    """Return the line of a unit's input, by its number in the unit."""
    return json.dumps({"n": number, **record}).encode()


def last_line() -> bytes:
    """Return the line that follows when a worker has done all that it had claimed, and the unit's part is written."""
    return _END


def journal_name(unit: int | str, attempt: int) -> str:
    """Return the file of an attempt at a unit."""
    return f"{JOURNALS}/{unit if isinstance(unit, str) else f'{unit:06}'}.{attempt}.jsonl"


def numbers_in(names: Iterable[str], pattern: str) -> set[int]:
    """Return the numbers in the names that a pattern fits."""
    return {int(match[1]) for match in (re.fullmatch(pattern, name) for name in names) if match}


@dataclass
class UnitState:
    """The records of a unit by number; the workers of its journals in order; True if the last of them is through."""

    records: dict[int, Record] = field(default_factory=dict)
    workers: list[str] = field(default_factory=list)
    ended: bool = True

    def add(self, journal: bytes) -> None:
        """Add a journal, whose last line is dropped if it was cut short; a success outlives a later failure."""
        lines = [json.loads(line) for line in journal.split(b"\n")[:-1]]
        self.ended = False
        for line in lines:
            if "worker" in line:
                self.workers.append(line["worker"])
            elif "end" in line:
                self.ended = True
            else:
                number = line.pop("n")
                if line["status"] == DONE or self.records.get(number, line)["status"] == FAILED:
                    self.records[number] = line

    def failed(self) -> dict[int, Record]:
        """Return the records of the inputs that failed, by number."""
        return {number: record for number, record in self.records.items() if record["status"] == FAILED}

    def left(self, size: int, retried: Mapping[int, Record]) -> list[int]:
        """Return the numbers without a record, or with a failure that is still the one in ``retried``."""
        return [n for n in range(size) if n not in self.records or self.records[n] == retried.get(n)]

    def part(self) -> list[Record]:
        """Return all records in order."""
        return [record for _, record in sorted(self.records.items())]


def encode_part(records: Iterable[Record], suffix: str) -> bytes:
    """Return records as a file: Parquet, or JSON, one a line."""
    if suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet

        columns = [(name, pa.string()) for name in ("input", "etag", "status", "error")]
        columns += [("output", pa.list_(pa.string())), ("seconds", pa.float64()), ("finished", pa.float64())]
        buffer = pa.BufferOutputStream()
        pa.parquet.write_table(pa.Table.from_pylist(_as_text([*records]), pa.schema(columns)), buffer)
        return buffer.getvalue().to_pybytes()
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def decode_part(content: bytes, suffix: str) -> Sequence[Record]:
    """Return the records that ``encode_part`` made a file of."""
    if suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet

        return pa.parquet.read_table(pa.BufferReader(content)).to_pylist()
    return [json.loads(line) for line in content.splitlines()]


def _as_text(value: Any) -> Any:
    """Return a record whose names can be written as UTF-8: other bytes in them stand as ``\\udc80``."""
    if isinstance(value, dict):
        return {name: _as_text(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_as_text(inner) for inner in value]
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
