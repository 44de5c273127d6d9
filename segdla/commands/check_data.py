"""``segdla check``: the data doctor, and a first config for two folders or for labels of a tool."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from segdla.commands.arguments import Parser
from segdla.errors import UserError, in_shell
from segdla.machine.files import unused
from segdla.machine.remote.remote_path import as_path
from segdla.machine.terminal import console, say

if TYPE_CHECKING:
    from segdla.doctor.draft import Draft

DESCRIPTION = """Read every image and mask of a data set, say what is wrong with it, and sum up each split. The exit
status is 1 if something would hurt training. With --model, a trained network looks for label errors too. Or, with
--write, look at two folders, or at the labels that a labelling tool has exported, and write a config for them."""

FORMAT_HELP = "format of the labels, as data.format in a config names it (default: recognised by content)"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("config", nargs="?", help="YAML file, or the name of one in configs/ or in the package")
    parser.add_overrides("the config")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for report.json and contact.png (default: check_NAME)"
    )
    model = "run or checkpoint whose network looks for label errors: regions that it is sure are something else"
    parser.add_argument("--model", metavar="RUN|CHECKPOINT", help=model)
    parser.add_argument(
        "--split", nargs="+", choices=("train", "val", "test"), default=[], help="splits for --model (default: all)"
    )
    parser.add_device()
    export = (
        "file or folder to write the label errors to as polygons, for a labelling tool: issues.json (COCO), issues.xml "
    )
    export += "(CVAT), or a folder and --to"
    parser.add_argument("--export", type=Path, metavar="PATH", help=export)
    to = "format of --export: coco, yolo, labelme or cvat (default: by its suffix)"
    parser.add_argument("--to", metavar="FORMAT", help=to)
    group = parser.add_argument_group("a config for two folders, or for labels of a tool")
    group.add_argument(
        "--images",
        type=as_path,
        nargs="+",
        metavar="DIR",
        help="folder or archive (ZIP, tar) of images, or a folder in one, SET.zip/images; or one each to train, to "
        "validate and to test on",
    )
    group.add_argument(
        "--masks",
        type=as_path,
        nargs="+",
        metavar="DIR",
        help="as many folders or archives of masks, which are named like the images, perhaps with a prefix or suffix",
    )
    group.add_argument(
        "--labels",
        type=Path,
        metavar="PATH",
        help="instead of masks, the export of a labelling tool: a file, a folder or an archive (ZIP, tar); --images is "
        "then one folder, or left out if the images are there too; masks beside images are found there too",
    )
    group.add_argument("--format", metavar="FORMAT", help=FORMAT_HELP)
    group.add_argument("--write", type=Path, metavar="CONFIG", help="YAML file to write; lists go beside it")
    group.add_argument(
        "--lists",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="files of image names to train, to validate (and to test) on",
    )
    group.add_argument(
        "--fraction",
        type=float,
        default=0.15,
        help="share of images to validate on if there are no --lists (default: 0.15)",
    )
    group.add_argument("--seed", type=int, default=0, help="seed of the random split (default: 0)")


def main(args: argparse.Namespace) -> int:
    """Print and write a report, or a first config; return the exit status: 1 if something would hurt training."""
    if args.images or args.masks or args.labels or args.write:
        return draft(args)
    if args.config is None:
        raise UserError(
            "name a config, such as configs/quickstart.yaml, or give --images, --masks (or --labels) and --write"
        )
    from segdla.config import load_config, parse_overrides
    from segdla.doctor.report import print_report, write_report
    from segdla.trained.check_labels import check

    if args.split and not args.model:
        raise UserError("--split chooses the images in which a network looks for label errors; name it by --model")
    if args.export and not args.model:
        raise UserError("--export writes the label errors that a network suspects; name it by --model")
    if args.to and not args.export:
        raise UserError("--to is the format of --export; name a place by --export")
    config = load_config(args.config, parse_overrides(args.overrides))
    folder = args.output or unused(Path(f"check_{Path(args.config).stem}"))
    make_folder(folder)  # before all is read
    options = {"splits": args.split, "device": args.device, "export": args.export, "to": args.to}
    report = check(config, model=args.model, **options)
    print_report(report)
    write_report(report, folder)
    serious = sum(finding.serious for finding in report.findings)
    sheet = f", samples in {folder}/contact.png" if (folder / "contact.png").exists() else ""
    verdict = f"{serious} findings that would hurt" if serious else "nothing that would hurt"
    say(f"{verdict} training; all of it is in {folder}/report.json{sheet}")
    if report.label_errors is not None:
        say(f"regions to correct are in {folder}/label_errors.csv and .json, the worst images in label_errors.png")
        if args.export:
            say(f"as polygons, for a labelling tool, they are in {args.export}")
    return 1 if serious else 0


def make_folder(folder: Path) -> None:
    """Make the folder of the results. Raises UserError if that can't be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {folder}: {error.strerror}; choose another --output") from error


def draft(args: argparse.Namespace) -> int:
    """Write a first config and print it. Raises UserError if the arguments contradict each other."""
    if not 0 < args.fraction < 1 or len(args.lists) not in (0, 2, 3) or args.seed < 0:
        raise UserError("--fraction is between 0 and 1, --lists are two or three files, --seed is 0 or more")
    drafted = _drafted_of_labels(args) if args.labels else _drafted_of_folders(args)
    console.print(drafted.files[args.write], end="", soft_wrap=True)
    for remark in drafted.remarks:
        say(remark)
    config = in_shell(args.write)
    say(f"next: segdla check {config}\n      segdla train {config}")
    return 0


def _drafted_of_folders(args: argparse.Namespace) -> "Draft":
    if not (args.images and args.masks and args.write) or args.config:
        raise UserError(
            "a first config takes --images DIR --masks DIR --write CONFIG, or --labels PATH in place of --masks, and "
            "no other config"
        )
    if len(args.images) != len(args.masks) or len(args.images) > 3 or (args.lists and args.images[1:]):
        raise UserError("--images and --masks are one folder each, or without --lists one each a split, two or three")
    if args.format:
        raise UserError("--format is of --labels; masks are pictures, whose content tells what they are")
    from segdla.doctor.from_config import write_draft

    folders = list(zip(args.images, args.masks, strict=True))
    return write_draft(folders, args.write, args.fraction, args.seed, args.lists)


def _drafted_of_labels(args: argparse.Namespace) -> "Draft":
    images = args.images or [None]
    if args.masks or args.config or not args.write or len(images) > 1:
        raise UserError(
            "labels take --labels PATH --write CONFIG, perhaps one --images DIR, no --masks, no other config"
        )
    from segdla.doctor.from_config import write_label_draft

    return write_label_draft(args.labels, args.write, images[0], args.format, args.fraction, args.seed, args.lists)
