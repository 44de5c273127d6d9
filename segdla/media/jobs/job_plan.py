"""What a job has to do: the list of its inputs, cut into units of work. It is made once and never changes."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from segdla.errors import UserError, one_line
from segdla.media.inputs import Input, same_name
from segdla.media.jobs.stores import WORK, Store

_JOB = f"{WORK}/job.json"
_PART = 4096  # inputs of a file of the list
_UNITS = 1024  # wanted: few enough to be listed at once, many enough for the last ones to end together
_KINDS = ("images", "videos")


@dataclass(frozen=True)
class JobPlan:
    """The inputs of a job, read from its manifest as they are needed.

    ``wanted`` is what was asked for: the network, options, inputs, output. Images are cut into units of ``per_unit``,
    and a video is a unit of its own. ``lists`` is the prefix of the list's files.
    """

    store: Store
    wanted: dict[str, Any]
    lists: str
    images: int
    videos: int
    per_unit: int
    _kept: dict[str, list[Input]] = field(default_factory=dict, compare=False)

    @property
    def num_units(self) -> int:
        """The number of units; the videos' come last."""
        return -(-self.images // self.per_unit) + self.videos

    def size(self, unit: int) -> int:
        """Return the number of inputs in a unit."""
        return 1 if unit >= self.num_units - self.videos else min(self.per_unit, self.images - unit * self.per_unit)

    def inputs(self, unit: int) -> list[Input]:
        """Return the inputs of a unit."""
        kind, first = ("images", unit * self.per_unit)
        if unit >= self.num_units - self.videos:
            kind, first = ("videos", unit - (self.num_units - self.videos))
        start = first % _PART
        return self._part(kind, first // _PART)[start : start + self.size(unit)]

    def __iter__(self) -> Iterator[Input]:
        for kind, count in zip(_KINDS, (self.images, self.videos), strict=True):
            for number in range(-(-count // _PART)):
                yield from self._part(kind, number)

    def _part(self, kind: str, number: int) -> list[Input]:
        name = f"{self.lists}-{kind}-{number:05}.jsonl"
        if name not in self._kept:
            lines = self.store.read(name).splitlines()
            self._kept.clear()  # neighbouring units come from one file; more would not stay small
            self._kept[name] = [Input(*json.loads(line)) for line in lines]
        return self._kept[name]


def read_plan(store: Store, wanted: dict[str, Any]) -> JobPlan | None:
    """Return the plan in a manifest, or None if none has been made.

    Raises UserError if the manifest is of another network, other options or other inputs.
    """
    try:
        job = json.loads(store.read(_JOB))
    except FileNotFoundError:
        return None
    for name, now in json.loads(json.dumps(wanted)).items():
        before = job["wanted"].get(name)
        if before != now:
            raise UserError(
                f"{store.place} is the manifest of another job ({name}: {one_line(str(before), 80)}; now: "
                f"{one_line(str(now), 80)}); name another --manifest, or give what it was made with"
            )
    return JobPlan(store, job["wanted"], *(job[name] for name in ("lists", "images", "videos", "per_unit")))


def write_lists(store: Store, wanted: dict[str, Any], lists: str, inputs: Iterable[Input]) -> JobPlan:
    """Write the list of a job's inputs, each once, and return its plan, which counts when it is kept.

    Raises UserError if the outputs of two inputs would have one name.
    """
    counts = dict.fromkeys(_KINDS, 0)
    waiting: dict[str, list[Input]] = {kind: [] for kind in _KINDS}
    seen: set[int] = set()  # of hashes: a number for each input, which is less than its path
    for entry in inputs:
        kind = "videos" if entry.is_video else "images"
        mark = hash((entry.name, kind))
        if mark in seen and (other := _find(store, lists, kind, counts[kind], waiting[kind], entry.name)):
            if other.path != entry.path:
                raise same_name(other, entry)
            continue
        seen.add(mark)
        waiting[kind].append(entry)
        counts[kind] += 1
        if len(waiting[kind]) == _PART:
            _write_part(store, lists, kind, counts[kind], waiting[kind])
    for kind in _KINDS:
        if waiting[kind]:
            _write_part(store, lists, kind, counts[kind], waiting[kind])
    per_unit = 1
    while per_unit * _UNITS < counts["images"] and per_unit < _PART:
        per_unit *= 2
    return JobPlan(store, wanted, lists, counts["images"], counts["videos"], per_unit)


def keep_plan(plan: JobPlan) -> bool:
    """Make a plan the manifest's; return False if it has got another one meanwhile."""
    job = {name: getattr(plan, name) for name in ("wanted", "lists", "images", "videos", "per_unit")}
    return plan.store.create(_JOB, json.dumps(job, indent=2).encode())


def _write_part(store: Store, lists: str, kind: str, count: int, waiting: list[Input]) -> None:
    lines = "".join(f"{json.dumps([entry.path, entry.name])}\n" for entry in waiting)
    store.replace(f"{lists}-{kind}-{(count - 1) // _PART:05}.jsonl", lines.encode())
    waiting.clear()


def _find(store: Store, lists: str, kind: str, count: int, waiting: list[Input], name: str) -> Input | None:
    """Return the input of a name that has been listed, if it is more than a hash's chance."""
    written = count - len(waiting)
    plan = JobPlan(store, {}, lists, written if kind == "images" else 0, written if kind == "videos" else 0, 1)
    return next((entry for entry in chain(waiting, plan) if entry.name == name), None)
