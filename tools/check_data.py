"""The data doctor: python tools/check_data.py CONFIG; and a first config: --images DIR --masks DIR --write CONFIG"""

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
from segdla.draft import draft
from segdla.errors import UserError
from segdla.report import console, progress, write_json
from segdla.visualize import contact_sheet, write_image

_SHOWN = 3  # findings of one kind on the terminal; the report has all
_PICTURES = 24


def parser() -> argparse.ArgumentParser:
    made = cli.parser(
        "Read every image and mask of a data set and tell what is wrong with it and what it is made of; exit status 1 "
        "where something would hurt training.\nOr, with --write, look at two folders and write a config for them."
    )
    made.add_argument("config", nargs="?", help="YAML file; see configs/")
    made.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the config")
    made.add_argument("--output", type=Path, metavar="DIR", help="of report.json and contact.png (default: check_NAME)")
    drafting = made.add_argument_group("a config for two folders")
    drafting.add_argument("--images", type=Path, metavar="DIR", help="searched through")
    drafting.add_argument("--masks", type=Path, metavar="DIR", help="named like the images, perhaps with a suffix")
    drafting.add_argument("--write", type=Path, metavar="CONFIG", help="the YAML file to write; its lists go beside it")
    drafting.add_argument(
        "--lists", type=Path, nargs="+", default=[], metavar="FILE", help="image names to train, validate (and test) on"
    )
    drafting.add_argument("--fraction", type=float, default=0.15, help="else: share to validate on (default: 0.15)")
    drafting.add_argument("--seed", type=int, default=0, help="of the drawing (default: 0)")
    return made


def write_draft(args: argparse.Namespace) -> int:
    if not (args.images and args.masks and args.write) or args.config:
        raise UserError("a first config takes --images DIR --masks DIR --write CONFIG, and no other config")
    if not 0 < args.fraction < 1 or len(args.lists) not in (0, 2, 3):
        raise UserError("--fraction is between 0 and 1, and --lists are two or three files")
    files, told = draft(
        args.images, args.masks, args.write, args.fraction, args.seed, args.lists,
        partial(progress, description="looking"),
    )  # fmt: skip
    taken = [path for path in files if path.exists()]
    if taken:
        raise UserError(f"{taken[0]} exists; --write under another name, or remove it")
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}; --write elsewhere") from error
    config.load(args.write)
    console.print(files[args.write], end="", soft_wrap=True, markup=False)
    for line in told:
        console.print(line, soft_wrap=True, markup=False)
    console.print(
        f"next: python tools/check_data.py {args.write}\n      python tools/train.py {args.write}", soft_wrap=True
    )
    return 0


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
    if args.images or args.masks or args.write:
        return write_draft(args)
    if args.config is None:
        raise UserError("name a config, such as configs/quickstart.yaml, or give --images, --masks and --write")
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
