"""The data doctor: python tools/check_data.py CONFIG, or --images DIR --masks DIR --write CONFIG for a first config"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from rich.table import Table

from segdla import build_data, cli, config
from segdla.checkpoint import unused
from segdla.data.check import Report, check
from segdla.data.dataset import Source
from segdla.errors import UserError
from segdla.report import console, progress, write_json
from segdla.visualize import contact_sheet, write_image

_SHOWN = 3  # findings of one kind on the terminal; the report has all
_PICTURES = 24


def parser() -> argparse.ArgumentParser:
    made = cli.parser(
        "Read every image and mask of a data set and tell what is wrong with it and what it is made of; exit status 1 "
        "where something would hurt training."
    )
    made.add_argument("config", nargs="?", help="YAML file; see configs/")
    made.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the config")
    made.add_argument("--output", type=Path, metavar="DIR", help="of report.json and contact.png (default: check_NAME)")
    return made


def summary(report: Report) -> Iterator[Table]:
    """What the splits are made of, and the classes of each."""
    table = Table("split", "images", "height x width", "labelled %", "mean", "std")
    for name, split in report.splits.items():
        sizes = [f"{number} of {size}" for size, number in list(split.sizes.items())[:2]]
        sizes += [f"{len(split.sizes) - 2} more sizes"] if len(split.sizes) > 2 else []
        mean, std = (" ".join(f"{value:.4f}" for value in values) for values in (split.mean, split.std))
        table.add_row(name, str(split.images), "\n".join(sizes), f"{100 * split.labelled:.1f}", mean, std)
    yield table
    table = Table("class")
    for name in report.splits:
        table.add_column(f"{name} %", justify="right")
        table.add_column("images", justify="right")
    first = next(iter(report.splits.values()))
    for name in first.pixels:
        numbers = (
            (f"{100 * split.shares[name]:.2f}", str(split.images_with[name])) for split in report.splits.values()
        )
        table.add_row(name, *(word for pair in numbers for word in pair))
    yield table


def pictures(sources: dict[str, Source | UserError]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Samples from all over the splits, as far as they can be read."""
    usable = [source for source in sources.values() if not isinstance(source, UserError)]
    places = [(source, index) for source in usable for index in range(len(source))]
    for place in range(0, len(places), max(1, -(-len(places) // _PICTURES))):
        source, index = places[place]
        try:
            yield source.name(index), *source.read(index)
        except UserError:
            continue


def main(args: argparse.Namespace) -> int:
    if args.config is None:
        raise UserError("name a config, such as configs/quickstart.yaml")
    settings = config.load(args.config, args.overrides)
    sources = build_data.every_split(settings)
    report = check(sources, partial(progress, description="reading"))
    for kind, found in groupby(report.findings, key=lambda finding: finding.kind):
        found = list(found)
        color = "red" if found[0].serious else "yellow"
        console.print(f"[bold {color}]{kind}[/]: {len(found)}")
        for finding in found[:_SHOWN]:
            console.print(f"  {finding.split}: {finding.message}", soft_wrap=True, markup=False)
        if len(found) > _SHOWN:
            console.print(f"  and {len(found) - _SHOWN} more")
    if report.splits:
        for table in summary(report):
            console.print(table)
        split = report.splits.get("train", next(iter(report.splits.values())))
        weights = ([weight or 1.0 for weight in w] for w in (split.median_frequency_weights, split.enet_weights))
        console.print(
            f"to paste, if you want them:\n"
            f"  model: {{mean: {split.mean}, std: {split.std}}}\n"
            f"  train: {{class_weights: {next(weights)}}}  # median frequency\n"
            f"  train: {{class_weights: {next(weights)}}}  # ENet's",
            soft_wrap=True,
            markup=False,
        )
    output = args.output or unused(Path(f"check_{Path(args.config).stem}"))
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {output}: {error.strerror}; choose another --output") from error
    samples = list(pictures(sources))
    if samples:
        classes = next(source.classes for source in sources.values() if not isinstance(source, UserError))
        write_image(output / "contact.png", contact_sheet(samples, classes.names, classes.palette))
    write_json(output / "report.json", report.as_dict())
    serious = sum(finding.serious for finding in report.findings)
    console.print(
        f"{f'{serious} findings would hurt training' if serious else 'nothing that would hurt training'}; all of it is "
        f"in {output}/report.json, samples in {output}/contact.png",
        soft_wrap=True,
    )
    return 1 if serious else 0


def entry(argv: Sequence[str] | None = None) -> int:
    return cli.run(main, parser(), argv)


if __name__ == "__main__":
    sys.exit(entry())
