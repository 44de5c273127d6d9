"""What a run says: progress and tables on the terminal, metrics.jsonl, TensorBoard, curves and sample pictures."""

import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track
from rich.table import Table

from segdla.checkpoint import plain, save_text
from segdla.errors import UserError
from segdla.visualize import sample_grid, write_curves, write_image

Item = TypeVar("Item")
_SECONDS_BETWEEN_LINES = 20  # where there is no terminal to draw a bar on

console = Console(highlight=False, markup=False)  # names of classes and files may have brackets


def score_table(scores: dict[str, Any]) -> Table:
    """IoU and accuracy a class, means below; a dash for a class that is neither in the truth nor predicted.

    Where they were scored, IoU a category too, and beside ours what the official evaluator says.
    """
    official = scores.get("official", {})
    columns = {"official": "iou", "iIoU %": "instance_iou"}
    columns = {title: key for title, key in columns.items() if key in official}
    table = Table()
    table.add_column("class")
    for title in ("IoU %", "accuracy %", *columns):
        table.add_column(title, justify="right")

    def add(name: str, iou: float, accuracy: float | None, theirs: Sequence[float], **style: str) -> None:
        table.add_row(
            name, _percent(iou), "" if accuracy is None else _percent(accuracy), *map(_percent, theirs), **style
        )

    for name, iou in scores["iou"].items():
        add(name, iou, scores["accuracy"][name], [official[key][name] for key in columns.values()])
    table.add_section()
    theirs = [official[f"mean_{key}"] for key in columns.values()]
    add("mean (mIoU)", scores["mean_iou"], scores["mean_accuracy"], theirs, style="bold")
    table.add_row("all pixels", "", _percent(scores["pixel_accuracy"]))
    if "category_iou" in scores:
        keys = [key.replace("iou", "category_iou") for key in columns.values()]
        table.add_section()
        for name, iou in scores["category_iou"].items():
            add(name, iou, None, [official[key][name] for key in keys])
        theirs = [official[f"mean_{key}"] for key in keys]
        add("mean (categories)", scores["mean_category_iou"], None, theirs, style="bold")
    return table


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Values as JSON, NaN as null. Raises UserError where they can't be written."""
    try:
        path.write_text(json.dumps(plain(values), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; the values: {plain(values)}") from error


def progress(items: Collection[Item], description: str) -> Iterator[Item]:
    """The items, with a progress bar where there is a terminal."""
    return track(items, description, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def ticking(total: int, description: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, or a line now and then where there is no terminal, for what grows: ``tick(done, more)``."""
    known, count, started, said = total, 0, time.monotonic(), time.monotonic()
    bar = Progress(
        TextColumn(description), MofNCompleteColumn(), BarColumn(None), TextColumn("left"), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, expand=True, transient=True,
    )  # fmt: skip

    def tick(done: int, more: int) -> None:
        nonlocal known, count, said
        known, count = known + more, count + done
        bar.update(task, total=known, completed=count)
        if not console.is_terminal and time.monotonic() - said > _SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            left = _duration((said - started) * (known - count) / max(1, count))
            console.print(f"{description}: {count} of {known}, {left} left", soft_wrap=True)

    with bar:
        task = bar.add_task(description, total=total)
        yield tick


class RunLog:
    """Everything that training reports, in one place.

    folder: of the run. names, palette: of its classes. first_step, num_steps: what is done, and the whole. evaluated:
    the last step whose evaluation is done. What a run that was killed recorded beyond them will come again: it is
    dropped.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        palette: Sequence[tuple[int, int, int]],
        first_step: int,
        evaluated: int,
        num_steps: int,
    ):
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        self.names = names
        self.palette = palette
        self.num_steps = num_steps
        self.metrics = folder / "metrics.jsonl"
        self.records = [
            record
            for record in _read_records(self.metrics)
            if record["step"] <= (evaluated if "mean_iou" in record else first_step)
        ]
        save_text(self.metrics, "".join(json.dumps(plain(record)) + "\n" for record in self.records))
        with self._answering_disk():
            self.events = SummaryWriter(str(folder), purge_step=first_step + 1)
        self.bar = Progress(
            MofNCompleteColumn(), BarColumn(None), TextColumn("{task.fields[status]}"),
            TextColumn("left"), TimeRemainingColumn(),
            console=console, disable=not console.is_terminal, expand=True,
        )  # fmt: skip
        self.task = self.bar.add_task("train", total=num_steps, completed=first_step, status="")
        self.first_step = first_step
        self.started = self.last_line = time.monotonic()

    def __enter__(self) -> "RunLog":
        self.bar.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.bar.stop()
        with suppress(UserError) if error else nullcontext(), self._answering_disk():
            self.events.close()

    def advance(self, step: int) -> None:
        self.bar.update(self.task, completed=step)

    def training(
        self, step: int, loss: float, lr: float, images_per_second: float, data_wait: float, **counts: int
    ) -> None:
        """The mean loss since the last report, and how fast it went.

        ``data_wait`` is the share of the time in which the host waited for data; a GPU may have had steps queued up
        meanwhile. ``counts`` are of what went wrong.
        """
        self._record(step, loss=loss, lr=lr, images_per_second=images_per_second, data_wait=data_wait, **counts)
        status = f"loss {loss:.3f}  lr {lr:.2g}  {images_per_second:.1f} images/s  data wait {data_wait:.0%}"
        self.bar.update(self.task, completed=step, status=status)
        if not console.is_terminal and time.monotonic() - self.last_line > _SECONDS_BETWEEN_LINES:
            seconds = (time.monotonic() - self.started) * (self.num_steps - step) / (step - self.first_step)
            console.print(f"step {step}/{self.num_steps}  {status}  {_duration(seconds)} left", soft_wrap=True)
            self.last_line = time.monotonic()

    def evaluation(
        self,
        step: int,
        epoch: int,
        scores: dict[str, Any],
        best: bool,
        samples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    ) -> None:
        """Scores of an evaluation, and (image, target, prediction) of a few of its images."""
        self._record(step, epoch=epoch, **scores)
        grid = sample_grid(samples, self.names, self.palette)
        write_image(self.folder / "samples" / f"step_{step:07}.png", grid)
        with self._answering_disk():
            self.events.add_image("val/samples", grid, step, dataformats="HWC")
        write_curves(self.folder / "curves.png", self.records)
        console.print(
            f"epoch {epoch}  step {step}/{self.num_steps}  val mIoU {_percent(scores['mean_iou'])} %  "
            f"pixel accuracy {_percent(scores['pixel_accuracy'])} %{'  (best so far)' if best else ''}",
            soft_wrap=True,
        )

    def _record(self, step: int, **values: Any) -> None:
        record = {"step": step, **values}
        self.records.append(record)
        with self._answering_disk(), self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain(record)) + "\n")
        part = "val" if "mean_iou" in values else "train"
        for key, value in values.items():
            scalars = {f"{key}/{name}": v for name, v in value.items()} if isinstance(value, dict) else {key: value}
            with self._answering_disk():
                for name, scalar in scalars.items():
                    self.events.add_scalar(f"{part}/{name}", scalar, step)

    @contextmanager
    def _answering_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot write in {self.folder}: {error.strerror or error}; make room, then --resume {self.folder}"
            ) from error


def _read_records(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:  # a killed run, or a power cut, may leave half a line: what follows it is not to be trusted
            break
    return records


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _percent(share: float | None) -> str:
    """A share of an absent class is NaN, and None where it was read from a file."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.2f}"
