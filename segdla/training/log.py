"""The reports of a run: metrics.jsonl, loggers, curves, sample pictures, and lines on the terminal."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from segdla.data.image_writer import write_image
from segdla.errors import UserError, in_shell
from segdla.evaluation.criterion import AnyScores
from segdla.machine.files import require_text, to_json, write_text
from segdla.machine.terminal import SECONDS_BETWEEN_LINES, console, duration, say
from segdla.training.forecast import Forecast
from segdla.training.loggers import Loggers
from segdla.training.meter import Reading
from segdla.training.run_folder import CONFIG
from segdla.training.upload import Upload
from segdla.visualize import curves

_LARGEST = 1e15  # of a number in a record
_MEASURES = ("mean_iou", "top1", "correlation")  # keys of the records of an evaluation


class RunLog:
    """All reports of a training run, in the run's folder and on the terminal.

    first_step: the steps that are done. evaluated: the step of the last evaluation. Records beyond them, which a killed
    run leaves, are dropped, because they will come again. forecast: tells how long the run takes. loggers: where else
    numbers and pictures go, with the ``settings`` of the run. upload: URL of a folder that the run is copied into.
    """

    def __init__(
        self,
        folder: Path,
        first_step: int,
        evaluated: int,
        num_steps: int,
        forecast: Forecast | None = None,
        loggers: Sequence[str] = ("tensorboard",),
        settings: Mapping[str, Any] | None = None,
        upload: str | None = None,
    ):
        require_text(folder, "rename the run")
        self.folder = folder
        self.num_steps = num_steps
        self.forecast = forecast
        self.metrics = folder / "metrics.jsonl"
        records, dropped = read_records(self.metrics)
        if dropped:
            lines = (
                "1 line is no record of a training, and is"
                if dropped == 1
                else f"{dropped} lines are no records, and are"
            )
            say(f"{self.metrics}: {lines} dropped")
        self.records = [
            record for record in records if record["step"] <= (evaluated if _is_evaluation(record) else first_step)
        ]
        write_text(self.metrics, "".join(json.dumps(to_json(record)) + "\n" for record in self.records))
        with self._answering_disk():
            self.loggers = Loggers(loggers, folder, settings or {}, first_step)
        self.upload = None if upload is None else Upload(folder, upload, CONFIG)
        self.bar = Progress(
            MofNCompleteColumn(), BarColumn(None), TextColumn("{task.fields[status]}"),
            TextColumn("left"), TimeRemainingColumn(),
            console=console, disable=not console.is_terminal, expand=True,
        )  # fmt: skip
        self.task = self.bar.add_task("train", total=num_steps, completed=first_step, status="")
        self.first_step = first_step
        self.start = self.last_line = time.monotonic()

    def __enter__(self) -> "RunLog":
        self.bar.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.bar.stop()
        with suppress(UserError) if error else nullcontext(), self._answering_disk():
            self.loggers.close()
        if self.upload:
            self.upload.finish()

    def advance(self, step: int) -> None:
        """Move the progress bar, and tell once how long the run will take."""
        self.bar.update(self.task, completed=step)
        if self.forecast and (text := self.forecast.step_done(step, time.monotonic())):
            say(text)

    def saved(self, state: Mapping[str, Any]) -> None:
        """Begin to copy the run into storage, if the state that is on the disk now is that of an evaluation."""
        if self.upload and state["evaluated"] == state["step"]:
            self.upload.ask()

    def training(self, step: int, lr: float, reading: Reading) -> None:
        """Report the mean loss since the last report, the learning rate and the speed."""
        loss, speed, wait = float(np.mean(reading.losses)), reading.images_per_second, reading.data_wait
        counts = {"unreadable": reading.unreadable} if reading.unreadable else {}
        self._record(step, loss=loss, lr=lr, images_per_second=speed, data_wait=wait, **counts)
        status = f"loss {loss:.3f}  lr {lr:.2g}  {speed:.1f} images/s  data wait {wait:.0%}"
        self.bar.update(self.task, completed=step, status=status)
        if not console.is_terminal and time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            seconds = (time.monotonic() - self.start) * (self.num_steps - step) / (step - self.first_step)
            say(f"step {step}/{self.num_steps}  {status}  {duration(seconds)} left")
            self.last_line = time.monotonic()

    def evaluation(
        self,
        step: int,
        epoch: int,
        scores: AnyScores,
        best: bool,
        samples: np.ndarray,
    ) -> None:
        """Report the scores of an evaluation, and a picture (H,W,3) of what is predicted."""
        self._record(step, epoch=epoch, **{k: v for k, v in scores.as_dict().items() if k not in ("split", "protocol")})
        write_image(self.folder / "samples" / f"step_{step:07}.png", samples)
        with self._answering_disk():
            self.loggers.picture("val/samples", samples, step)
        write_image(self.folder / "curves.png", curves(self.records))
        say(f"epoch {epoch}  step {step}/{self.num_steps}  val {scores.line}{'  (best so far)' if best else ''}")
        if self.forecast and (text := self.forecast.evaluation_done(step, time.monotonic())):
            say(text)

    def _record(self, step: int, **values: Any) -> None:
        record = {"step": step, **values}
        self.records.append(record)
        with self._answering_disk(), self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(to_json(record)) + "\n")
        part = "val" if _is_evaluation(values) else "train"
        scalars: dict[str, float] = {}
        for key, value in values.items():
            numbers = {f"{key}/{name}": v for name, v in value.items()} if isinstance(value, dict) else {key: value}
            scalars |= {f"{part}/{name}": number for name, number in numbers.items()}
        with self._answering_disk():
            self.loggers.scalars(scalars, step)

    @contextmanager
    def _answering_disk(self) -> Iterator[None]:
        """Turn an error of the disk into a UserError."""
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot write in {self.folder}: {error.strerror or error}; make room, then --resume "
                f"{in_shell(self.folder)}"
            ) from error


def read_records(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the records of a file, and the number of lines dropped that are none.

    A kill or a power cut leaves half a line at the end, which is not counted.
    """
    if not path.is_file():
        return [], 0
    try:
        lines = path.read_bytes().decode(errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; make it readable, or move it away") from error
    entries = [_record(line) for line in lines]
    if entries and entries[-1] is None:
        entries.pop()
    records = [record for record in entries if record is not None]
    return records, len(entries) - len(records)


def _record(line: str) -> dict[str, Any] | None:
    """Return the record on a line; None if it is none: a step, a loss or a mean IoU, and little besides."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not ("loss" in record or _is_evaluation(record)):
        return None
    if type(record.get("step")) is not int or not 0 <= record["step"] < _LARGEST:
        return None
    plotted = [record[key] for key in ("loss", "lr", *_MEASURES) if key in record]
    parts = [part for value in record.values() for part in (value.values() if isinstance(value, dict) else [value])]
    is_flat = not any(isinstance(part, dict | list) for part in parts)
    return record if is_flat and all(map(_is_number, plotted)) else None


def _is_evaluation(record: Mapping[str, Any]) -> bool:
    return any(key in record for key in _MEASURES)


def _is_number(value: Any) -> bool:
    """Return whether a value can be drawn; None stands for NaN."""
    return value is None or (type(value) in (int, float) and not abs(value) >= _LARGEST)
