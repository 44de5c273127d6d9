"""``segdla compare``: whether one of two networks is better, on the same images."""

import argparse
from pathlib import Path

from segdla.commands.arguments import Parser, positive
from segdla.errors import UserError
from segdla.machine.terminal import say, show

DESCRIPTION = """Compare two networks that segdla test has scored on the same images, and say whether the difference is
more than chance."""


def add_arguments(parser: Parser) -> None:
    record = "{} run, whose newest scores of the split are taken, or a file that segdla test wrote"
    parser.add_argument("first", type=Path, metavar="RUN|JSON", help=record.format("first"))
    parser.add_argument("second", type=Path, metavar="RUN|JSON", help=record.format("second"))
    parser.add_argument("--split", default="val", choices=("train", "val", "test"), help="split to use (default: val)")
    parser.add_argument(
        "--images", type=positive, default=5, help="number of images to name that changed most (default: 5)"
    )


def main(args: argparse.Namespace) -> int:
    from segdla.evaluation.comparison import compare, comparison_table
    from segdla.trained.record import changed, config_of, read_record

    records = [read_record(place, args.split) for place in (args.first, args.second)]
    if records[0].path.resolve() == records[1].path.resolve():
        raise UserError(f"both are {records[0].path}, and scores do not differ from themselves; name two")
    comparison = compare(*(record.scores for record in records))
    for number, record in zip(("first", "second"), records, strict=True):
        say(f"{number}: {record.path}")
    one, other = (record.settings for record in records)
    for key, values in changed(one, other, {"checkpoint", "step"}).items():
        say(f"scored otherwise: {key} {values}")
    for key, values in changed(config_of(one), config_of(other)).items():
        say(f"config: {key} {values}")
    show(comparison_table(comparison))
    points, probability = (
        100 * change[-1] for change in (comparison.difference.difference, comparison.difference.probability)
    )
    if comparison.is_real is None:
        say(f"mIoU {points:+.2f}; the images are too few, or too much alike, to say whether that is chance")
    else:
        verdict = "a real difference" if comparison.is_real else "it may be chance"
        say(f"mIoU {points:+.2f}: {verdict}; equally good networks differ as much in {probability:.1f} % of cases")
    say("images that changed most, by their own mIoU:")
    for name, change in comparison.moved[: args.images]:
        say(f"  {100 * change:+.2f}  {name}")
    return 0
