"""Many files predicted by any number of workers, each file exactly once, whichever workers are killed."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from segdla.errors import UserError
from segdla.machine.remote.urls import is_url, public_url
from segdla.media.inputs import Input, listed_inputs
from segdla.media.jobs.estimate import Estimate, estimate
from segdla.media.jobs.job import Job, Predicted
from segdla.media.jobs.job_plan import read_plan
from segdla.media.jobs.lease import PATIENCE, Lease, worker_name
from segdla.media.jobs.planning import make_plan
from segdla.media.jobs.stores import open_store
from segdla.media.kinds import KINDS
from segdla.media.outputs import Output, is_output
from segdla.media.run import Recorder, Tally, Tick, predict_files
from segdla.trained.segmenter import Segmenter


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True)
class FileJob:
    """The prediction of ``inputs`` (files, folders, globs) into the folder ``output``, recorded in ``manifest``.

    ``kinds`` are those of ``segdla predict --output-kind`` that are pictures. Each process that has an equal job, with
    the same manifest, is one of its workers. ``complain`` is told each input that fails. After ``patience`` seconds
    without a sign of life, a worker on another machine counts as dead.

    Raises UserError if a kind is no picture, or the manifest is to be Parquet and pyarrow is missing.
    """

    inputs: Sequence[str]
    output: Path
    manifest: str
    segmenter: Segmenter
    kinds: Sequence[str] = ("color",)
    legend: bool = True
    retry_failed: bool = False
    lines: Iterable[bytes] = field(default=(), compare=False)  # of stdin, if an input is ``-``
    complain: Callable[[UserError], None] = _ignore
    patience: float = PATIENCE
    smooth: bool = False  # videos; see Segmenter.smoothed

    def __post_init__(self) -> None:
        camera = next((word for word in self.inputs if Input(word, "").camera is not None), None)
        if camera:
            raise UserError(
                f"{camera} has no end, and a job is of files; record it first (segdla predict {camera}), then name the "
                "video"
            )
        for kind in self.kinds:
            if kind not in KINDS:
                raise UserError(
                    f"{kind} is none of the pictures that a job makes ({', '.join(KINDS)}); make {kind} of "
                    "ids, by segdla convert"
                )
        if self.manifest.endswith(".parquet") and find_spec("pyarrow") is None:
            raise UserError(f"{self.manifest} needs pyarrow: pip install 'segdla[arrow]', or name it NAME.jsonl")

    @contextmanager
    def worker(self) -> Iterator[Job]:
        """Be one of the job's workers in a context; the first one lists the inputs.

        Raises UserError if the manifest is another job's, or an output would be written over an input.
        """
        output, name = self._output(), worker_name()
        output.begin(new=False)
        store = open_store(self.manifest, name)
        lease = Lease(store, name, self.patience)
        with lease.held():
            plan = make_plan(store, lease, self._wanted(), self._listed, output.require_no_overwriting)
            yield Job(plan, lease, output, self.retry_failed)
            output.write_legend()

    def predicted(self, tick: Tick = _ignore) -> Predicted:
        """Return what predicts the inputs that are claimed, and calls ``tick`` as ``predict_files`` does."""

        def predict(inputs: Iterable[Input], record: Recorder) -> Tally:
            return self._predict(inputs, self._output(), tick, record)

        return predict

    def estimated(self) -> Estimate:
        """Count the inputs and predict a sample of them, whose outputs are not kept."""

        def predict(inputs: Iterable[Input], folder: Path) -> Tally:
            return self._predict(inputs, replace(self._output(), folder=folder), _ignore, _ignore)

        return estimate(self._listed(), predict)

    def seen(self) -> Job | None:
        """Return the job as it stands without being one of its workers; None before it has begun.

        Raises UserError if the manifest is another job's.
        """
        store = open_store(self.manifest, "nobody")
        plan = read_plan(store, self._wanted())
        return None if plan is None else Job(plan, Lease(store, "nobody"), self._output())

    def _predict(self, inputs: Iterable[Input], output: Output, tick: Tick, record: Recorder) -> Tally:
        segmenter = self.segmenter
        return predict_files(
            inputs,
            segmenter.predict,
            output,
            self.complain,
            tick,
            sample_range=segmenter.trained.config.sample_range,
            record=record,
            begin_video=segmenter.smoothed if self.smooth else None,
        )

    def _listed(self) -> Iterator[Input]:
        return listed_inputs(self.inputs, self.lines, is_output)

    def _output(self) -> Output:
        classes = self.segmenter.trained.classes
        return Output(
            self.output, self.kinds, *(classes.names, classes.palette), self.legend, None, classes.overlapping
        )

    def _wanted(self) -> dict[str, Any]:
        trained = self.segmenter.trained
        return {
            "network": _hash(trained.path),
            "options": {
                "scales": self.segmenter.scales,
                "flip": self.segmenter.flip,
                **trained.overrides,
                **({"smooth": True} if self.smooth else {}),
            },
            "inputs": [_absolute(word) for word in self.inputs],
            "output": _absolute(str(self.output)),
            "output kinds": [*self.kinds, *["legend"] * self.legend],
        }


def _absolute(word: str) -> str:
    return public_url(word) if is_url(word) else word if word == "-" else os.path.abspath(word)  # noqa: PTH100 (globs)


def _hash(path: Path) -> str:
    """Return a hash of a network's file; OpenVINO's has a second one with the weights."""
    state = hashlib.sha256()
    for file in (path, path.with_suffix(".bin")):
        if file.exists():
            state.update(file.read_bytes())
    return state.hexdigest()[:16]
