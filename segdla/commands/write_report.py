"""``segdla report``: score a trained network, and write a page that shows how it does."""

import argparse
from pathlib import Path

from segdla.commands.arguments import Parser, positive
from segdla.commands.scoring import add_scoring, open_scoring
from segdla.errors import UserError
from segdla.machine.terminal import console, say

DESCRIPTION = """Score a trained network, and write one HTML file that shows how it does: scores, confusions, its worst
images. Without a RUN, the newest one. With two, the page is the second's, and shows what changed."""


def add_arguments(parser: Parser) -> None:
    words = "network to score, or an earlier one and the one to score; changes to its config"
    parser.add_argument("words", nargs="*", metavar="RUN|section.key=value", help=words)
    parser.add_argument(
        "--worst", type=positive, default=24, help="number of images of lowest mIoU to show (default: 24)"
    )
    data = "show the data set too, as segdla check --model sees it: class shares, faults, images in two splits, label "
    data += "errors of the split; every image is read"
    parser.add_argument("--data", action="store_true", help=data)
    parser.add_argument("--output", type=Path, metavar="HTML", help="file to write (default: beside the checkpoint)")
    add_scoring(parser)


def main(args: argparse.Namespace) -> int:
    from segdla.data.from_config import every_split
    from segdla.machine import distributed
    from segdla.report.compose import report_on
    from segdla.trained.record import read_record

    overrides = [word for word in args.words if "=" in word and not Path(word).exists()]
    networks = [word for word in args.words if word not in overrides]
    if len(networks) > 2:
        raise UserError(f"{len(networks)} networks are too many for a page; name one, or an earlier one and another")
    with distributed.process_group():
        console.quiet = not distributed.is_main()
        before = read_record(networks[0], args.split) if len(networks) == 2 else None
        evaluation = open_scoring(args, networks[-1] if networks else None, overrides)
        splits = every_split(evaluation.config) if args.data else None
        say(f"open {report_on(evaluation, before, args.worst, args.output, splits)} in a browser")
    return 0
