"""The data doctor: python tools/check_data.py CONFIG; and a first config: --images DIR --masks DIR --write CONFIG"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from segdla import cli, config, diagnosis
from segdla.build.data import every_split
from segdla.checkpoint import unused
from segdla.data.check import check
from segdla.draft import draft
from segdla.errors import UserError
from segdla.report import console, progress


def parser() -> argparse.ArgumentParser:
    made = cli.parser(
        "Read every image and mask of a data set and tell what is wrong with it and what it is made of; exit status 1 "
        "where something would hurt training.\nOr, with --write, look at two folders and write a config for them."
    )
    made.add_argument("config", nargs="?", help="YAML file; see configs/")
    made.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the config")
    made.add_argument("--output", type=Path, metavar="DIR", help="of report.json and contact.png (default: check_NAME)")
    drafting = made.add_argument_group("a config for two folders")
    drafting.add_argument(
        "--images",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="searched through; or one each to train, validate, test on",
    )
    drafting.add_argument(
        "--masks", type=Path, nargs="+", metavar="DIR", help="of the same names, perhaps with a suffix; as many"
    )
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
    if len(args.images) != len(args.masks) or len(args.images) > 3 or (args.lists and args.images[1:]):
        raise UserError("--images and --masks are one folder each, or without --lists one each a split, two or three")
    if not 0 < args.fraction < 1 or len(args.lists) not in (0, 2, 3) or args.seed < 0:
        raise UserError("--fraction is between 0 and 1, --lists are two or three files, --seed is 0 or more")
    if args.write.exists():
        raise UserError(f"{args.write} exists; --write under another name, or remove it")
    looking = partial(progress, description="looking")
    folders = list(zip(args.images, args.masks, strict=True))
    files, told = draft(folders, args.write, args.fraction, args.seed, args.lists, looking)
    config.loads(files[args.write], source=str(args.write))  # before anything is written
    taken = [path for path in files if path.exists()]
    if taken:
        raise UserError(f"{taken[0]} exists; --write under another name, or remove it")
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}; --write elsewhere") from error
    console.print(files[args.write], end="", soft_wrap=True)
    for line in told:
        console.print(line, soft_wrap=True)
    next_steps = f"next: python tools/check_data.py {args.write}\n      python tools/train.py {args.write}"
    console.print(next_steps, soft_wrap=True)
    return 0


def main(args: argparse.Namespace) -> int:
    if args.images or args.masks or args.write:
        return write_draft(args)
    if args.config is None:
        raise UserError("name a config, such as configs/quickstart.yaml, or give --images, --masks and --write")
    sources = every_split(config.load(args.config, args.overrides))
    output = args.output or unused(Path(f"check_{Path(args.config).stem}"))
    diagnosis.make_folder(output)  # before all is read
    report = check(sources, partial(progress, description="reading"))
    diagnosis.say(report)
    diagnosis.write(report, sources, output)
    serious = sum(finding.serious for finding in report.findings)
    sheet = f", samples in {output}/contact.png" if (output / "contact.png").exists() else ""
    console.print(
        f"{f'{serious} findings that would hurt' if serious else 'nothing that would hurt'} training; all of it is in "
        f"{output}/report.json{sheet}",
        soft_wrap=True,
    )
    return 1 if serious else 0


def entry(argv: Sequence[str] | None = None) -> int:
    return cli.run(main, parser(), argv)


if __name__ == "__main__":
    sys.exit(entry())
