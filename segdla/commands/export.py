"""``segdla export``: write a trained network for other runtimes."""

import argparse
from pathlib import Path

from segdla.commands.arguments import Parser, positive, without_checkpoint
from segdla.errors import UserError, quoted
from segdla.machine.files import unused
from segdla.machine.terminal import say, show

DESCRIPTION = """Write a trained network as one file, which takes RGB bytes and gives logits and class ids. It is kept
only if it computes what the network does."""


def add_arguments(parser: Parser) -> None:
    parser.add_checkpoint("export")
    parser.add_overrides("the run's config")
    parser.add_argument(
        "--format", default="onnx", metavar="FORMAT", help="onnx, openvino, torch, ncnn or litert (default: onnx)"
    )
    parser.add_argument("--int8", action="store_true", help="put convolutions into int8, calibrated on training images")
    size = "size of the images of a file for one size: litert's, and any of Swin (default: the validation images')"
    parser.add_argument("--size", type=positive, nargs=2, metavar=("H", "W"), help=size)
    parser.add_argument("--output", type=Path, metavar="FILE", help="file to write (default: beside the checkpoint)")
    images = "validation images to score it on (default: 20, or 200 if they are labelled as a whole)"
    parser.add_argument("--images", type=positive, help=images)
    max_drop = "points of mIoU, or of top-1, that int8 may cost, or else there is no file (default: 2)"
    parser.add_argument("--max-drop", type=float, default=2.0, help=max_drop)
    parser.add_runs()


def main(args: argparse.Namespace) -> int:
    import torch

    from segdla.checkpoints.checkpoint import read_checkpoint
    from segdla.checkpoints.find import find_checkpoint
    from segdla.checkpoints.from_config import restored
    from segdla.config import parse, parse_overrides
    from segdla.evaluation.table import percent
    from segdla.export.formats import FORMATS
    from segdla.export.from_config import export_network
    from segdla.export.verify import difference_table

    if args.format not in FORMATS:
        raise UserError(f"--format {quoted(args.format)}: choose one of {', '.join(FORMATS)}")
    without_checkpoint(args)
    source = find_checkpoint(args.checkpoint, args.runs)
    checkpoint = read_checkpoint(source.path)
    checkpoint.card.classes.require_some(source.path)
    config = parse(checkpoint.card.config, parse_overrides(args.overrides), source=str(source.path))
    network = restored(checkpoint, config, torch.device("cpu"))
    suffix = "_int8" * args.int8 + FORMATS[args.format].SUFFIX
    path = args.output or unused(source.folder_of_results / f"{source.path.stem}{suffix}")
    say(f"{source} to {args.format}{', int8' * args.int8}")
    size = tuple(args.size) if args.size else None
    options = {"int8": args.int8, "num_images": args.images, "max_drop": args.max_drop, "size": size}
    export = export_network(network, checkpoint.card, config, path, args.format, **options)
    show(difference_table(export.differences))
    if export.scores:
        own, exported = (f"{percent(score)} %" for score in export.scores)
        on = f" (8-bit products on {export.arithmetic})" if export.arithmetic else ""
        measure = checkpoint.card.classes.measure
        say(f"{measure} on {export.num_images} validation images: {own}, exported {exported}{on}")
    elif args.int8:
        say("nothing to score int8 on: its accuracy is unknown")
    say(f"written to {export.path} ({export.size / 1e6:.1f} MB)")
    return 0
