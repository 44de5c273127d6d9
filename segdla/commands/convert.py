"""``segdla convert``: a data set in another format."""

import argparse
from pathlib import Path

from segdla.commands.arguments import Parser
from segdla.commands.check_data import FORMAT_HELP
from segdla.machine.terminal import complain, say

DESCRIPTION = """Write a data set, images and labels, in another format into a new folder. The labels are those that a
labelling tool has exported (a file, a folder or an archive), a folder of masks, or a config's data set; classes, ids,
colours and splits stay as far as the format can hold them. The exit status is 1 if an image can't be read (the rest is
done), 2 if nothing is done."""
WRITTEN = ("coco", "yolo", "labelme", "cvat", "voc", "masks")
"""The formats of segdla.data.label_files, whose import would delay --help."""
_MOST_LINES = 20  # of problems


def add_arguments(parser: Parser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="labels, a folder of masks, or a config")
    parser.add_argument("--to", required=True, metavar="FORMAT", help=f"format to write: {', '.join(WRITTEN)}")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder to write to")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder or archive of the images, if they are not where the labels are",
    )
    parser.add_argument("--format", metavar="FORMAT", help=FORMAT_HELP)
    parser.add_argument(
        "--unlabelled",
        metavar="CLASS",
        help="class of the pixels without a label in SOURCE, or ignored (default: as segdla check --labels chooses)",
    )
    parser.add_argument(
        "--image-files",
        choices=("copy", "link", "none"),
        default="copy",
        help="images in the new folder: copies, symbolic links, or none (default: copy)",
    )
    parser.add_polygons()


def main(args: argparse.Namespace) -> int:
    from segdla.doctor.from_config import convert

    done = convert(
        args.source,
        args.to,
        args.output,
        images=args.images,
        form=args.format,
        unlabelled=args.unlabelled,
        background=args.background,
        tolerance=args.tolerance,
        min_pixels=args.min_pixels,
        image_files=args.image_files,
    )
    for problem in done.problems[:_MOST_LINES]:
        complain(args.prog, problem)
    if len(done.problems) > _MOST_LINES:
        complain(args.prog, f"and {len(done.problems) - _MOST_LINES} more images")
    for remark in done.remarks:
        say(remark)
    left_out = f", {len(done.problems)} left out" if done.problems else ""
    say(f"{done.images} images{left_out}, in {done.folder}/")
    return 1 if done.problems else 0
