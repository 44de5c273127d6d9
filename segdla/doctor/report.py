"""The doctor's report, on the terminal and in files."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from segdla.data.image_writer import write_image
from segdla.data.source import Source
from segdla.doctor.check import Report, SplitSummary
from segdla.doctor.label_ranking import LabelErrors
from segdla.machine.files import write_json
from segdla.machine.terminal import console, say, show
from segdla.visualize import contact_sheet

_MOST_FINDINGS = 3  # of one kind on the terminal; report.json has all
_MOST_PICTURES = 24
_MOST_IMAGES = 10  # with label errors, on the terminal
_MOST_SIZES = 3


def print_report(report: Report) -> None:
    """Print the findings by kind, tables of the splits and their classes, and settings to paste into a config."""
    for kind, group in groupby(report.findings, key=lambda finding: finding.kind):
        findings = list(group)
        console.print(f"{kind}: {len(findings)}", style="bold red" if findings[0].serious else "bold yellow")
        for finding in findings[:_MOST_FINDINGS]:
            say(f"  {finding.split}: {finding.message}")
        if len(findings) > _MOST_FINDINGS:
            console.print(f"  and {len(findings) - _MOST_FINDINGS} more")
    if report.splits:
        show(_split_table(report.splits))
        show(_class_table(report.splits))
        split = report.splits.get("train", next(iter(report.splits.values())))
        say(f"to paste, if you want them:\n  model: {{mean: {split.mean}, std: {split.std}}}")
        rules = {"median_frequency": split.median_frequency_weights, "enet": split.enet_weights}
        for rule, weights in rules.items():
            if weights:
                say(f"  loss: {{class_weights: {weights}}}  # {rule} computes these")
    if report.weights:
        say(report.weights)
    if report.label_errors is not None:
        print_label_errors(report.label_errors)


def print_label_errors(errors: LabelErrors) -> None:
    """Print the images whose labels a network doubts most, and what their worst region is and looks like."""
    names = errors.classes.names
    table = Table("label errors", "score", "agrees %", "the worst region", title_justify="left")
    for rank, image in enumerate(errors.ranked[:_MOST_IMAGES], 1):
        worst = next(iter(errors.regions_of(image)), None)
        where = "" if worst is None else f"{names[worst.given]} at {worst.box[:2]} looks like {names[worst.suggested]}"
        name = f"{rank}. {image.name} ({image.split})"
        table.add_row(Text(name), f"{image.score:.1f}", f"{100 * image.agreement:.0f}", Text(where))
    show(table)


def write_report(report: Report, folder: Path) -> None:
    """Write report.json and, if any image can be read, contact.png, samples with their masks laid over them.

    Label errors get files of their own. Raises UserError if a file can't be written.
    """
    write_json(folder / "report.json", report.as_dict())
    if report.label_errors is not None:
        report.label_errors.write(folder)
    sources = list(report.sources.values())
    samples = list(_samples([(source, index) for source in sources for index in range(len(source))]))
    if samples and not sources[0].classes.whole_images:
        classes = sources[0].classes
        write_image(folder / "contact.png", contact_sheet(samples, classes.names, classes.palette))


def _split_table(splits: Mapping[str, SplitSummary]) -> Table:
    table = Table("split", "images", "height x width", "labelled %", "mean, std of R, G, B")
    for name, split in splits.items():
        sizes = [size if len(split.sizes) == 1 else f"{number} of {size}" for size, number in split.sizes.items()]
        more = [f"{len(sizes) - _MOST_SIZES} more sizes"] if len(sizes) > _MOST_SIZES else []
        statistics = "\n".join(" ".join(f"{value:.4f}" for value in values) for values in (split.mean, split.std))
        table.add_row(
            name, str(split.images), "\n".join(sizes[:_MOST_SIZES] + more), f"{100 * split.labelled:.1f}", statistics
        )
    return table


def _class_table(splits: Mapping[str, SplitSummary]) -> Table:
    """Return the shares of the classes in each split; one without any label has none, unless all are so."""
    splits = {name: split for name, split in splits.items() if split.labelled} or splits
    table = Table("class")
    for name in splits:
        table.add_column(f"{name} %", justify="right")
        table.add_column("images", justify="right")
    for name in next(iter(splits.values())).pixels:
        numbers = ((f"{100 * split.shares[name]:.2f}", str(split.images_with[name])) for split in splits.values())
        table.add_row(name, *(word for pair in numbers for word in pair))
    return table


def _samples(keys: list[tuple[Source, int]]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, image and target of samples from all over, as far as they can be read."""
    for source, index in keys[:: max(1, -(-len(keys) // _MOST_PICTURES))]:
        try:
            yield source.name(index), *source.read(index)
        except Exception:  # whatever it is, it is among the findings
            continue
