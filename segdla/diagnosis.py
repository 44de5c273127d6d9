"""What the doctor says, on the terminal and in files."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

import numpy as np
from rich.table import Table

from segdla.data.check import Report, Split
from segdla.data.dataset import Source
from segdla.errors import UserError
from segdla.report import console, write_json
from segdla.visualize import contact_sheet, write_image

_SHOWN = 3  # findings of one kind on the terminal; the report has all
_PICTURES = 24


def say(report: Report) -> None:
    """Findings by kind, tables of the splits and of their classes, and what may be pasted into a config."""
    for kind, found in groupby(report.findings, key=lambda finding: finding.kind):
        found = list(found)
        console.print(f"{kind}: {len(found)}", style="bold red" if found[0].serious else "bold yellow")
        for finding in found[:_SHOWN]:
            console.print(f"  {finding.split}: {finding.message}", soft_wrap=True)
        if len(found) > _SHOWN:
            console.print(f"  and {len(found) - _SHOWN} more")
    if report.splits:
        console.print(_made_of(report.splits))
        console.print(_classes(report.splits))
        split = report.splits.get("train", next(iter(report.splits.values())))
        median, enet = list(split.median_frequency_weights), list(split.enet_weights)
        console.print(
            f"to paste, if you want them:\n"
            f"  model: {{mean: {split.mean}, std: {split.std}}}\n"
            f"  loss: {{class_weights: {median}}}  # median_frequency computes these\n"
            f"  loss: {{class_weights: {enet}}}  # enet computes these",
            soft_wrap=True,
        )


def make_folder(folder: Path) -> None:
    """Raises UserError where that can't be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {folder}: {error.strerror}; choose another --output") from error


def write(report: Report, sources: Mapping[str, Source | UserError], folder: Path) -> None:
    """report.json and contact.png, samples with their masks. Raises UserError where they can't be written."""
    write_json(folder / "report.json", report.as_dict())
    usable = [source for source in sources.values() if not isinstance(source, UserError)]
    samples = list(_samples([(source, index) for source in usable for index in range(len(source))]))
    if samples:
        classes = usable[0].classes
        write_image(folder / "contact.png", contact_sheet(samples, classes.names, classes.palette))


def _made_of(splits: Mapping[str, Split]) -> Table:
    table = Table("split", "images", "height x width", "labelled %", "mean, std of R, G, B")
    for name, split in splits.items():
        sizes = [size if len(split.sizes) == 1 else f"{number} of {size}" for size, number in split.sizes.items()]
        sizes = sizes[:3] + ([f"{len(sizes) - 3} more sizes"] if len(sizes) > 3 else [])
        statistics = "\n".join(" ".join(f"{value:.4f}" for value in values) for values in (split.mean, split.std))
        table.add_row(name, str(split.images), "\n".join(sizes), f"{100 * split.labelled:.1f}", statistics)
    return table


def _classes(splits: Mapping[str, Split]) -> Table:
    table = Table("class")
    for name in splits:
        table.add_column(f"{name} %", justify="right")
        table.add_column("images", justify="right")
    for name in next(iter(splits.values())).pixels:
        numbers = ((f"{100 * split.shares[name]:.2f}", str(split.images_with[name])) for split in splits.values())
        table.add_row(name, *(word for pair in numbers for word in pair))
    return table


def _samples(places: list[tuple[Source, int]]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Some from all over, as far as they can be read."""
    for source, index in places[:: max(1, -(-len(places) // _PICTURES))]:
        try:
            yield source.name(index), *source.read(index)
        except Exception:  # whatever it is, it is among the findings
            continue
