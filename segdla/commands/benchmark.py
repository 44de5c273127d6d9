"""``segdla benchmark``: size, speed and accuracy of a network in every runtime."""

import argparse
from pathlib import Path

from rich.table import Table

from segdla.commands.arguments import Parser, count, positive
from segdla.errors import UserError
from segdla.machine.files import write_json
from segdla.machine.terminal import say, show

DESCRIPTION = """Print the parameters and multiply-accumulates of a network. For every backend that is installed, print
the time from image to class ids, images a second, peak memory beyond the network's own and, if it has been trained and
its validation images are here, the mIoU on them, or the top-1 of a classifier."""


def add_arguments(parser: Parser) -> None:
    parser.add_argument("network", metavar="CONFIG|RUN|CHECKPOINT|EXPORTED", help="network to measure")
    parser.add_overrides("its config")
    size = "image size (default: 512 1024, or that of a file for one size)"
    parser.add_argument("--size", type=positive, nargs=2, metavar=("H", "W"), help=size)
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="images at a time (default: 1)")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each backend (default: 10)")
    images = "validation images to score each backend on; 0 scores none (default: 20, or 200 for a classifier)"
    parser.add_argument("--images", type=count, metavar="N", help=images)
    which = "backends to measure: eager, compiled, onnx, openvino, ncnn, litert (default: every one that is installed)"
    parser.add_argument("--backends", nargs="+", metavar="BACKEND", help=which)
    int8 = "measure int8 too where a format has it, calibrated on training images"
    parser.add_argument("--int8", action="store_true", help=int8)
    parser.add_device()
    parser.add_argument("--json", type=Path, metavar="FILE", help="file to write the figures to")


def main(args: argparse.Namespace) -> int:
    from segdla.config import parse_overrides
    from segdla.evaluation.table import percent
    from segdla.machine.device import choose_device
    from segdla.machine.speed import conditions
    from segdla.trained.backends import Work, measure_named

    if args.json and args.json.exists():
        raise UserError(f"{args.json} exists; choose another --json")
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"no folder {args.json.parent} for --json {args.json.name}; make it first")
    here = conditions()  # the load before we add to it
    work = Work(args.size and tuple(args.size), args.batch, args.seconds, args.images)
    device, overrides = choose_device(args.device), parse_overrides(args.overrides)
    found = [*measure_named(args.network, overrides, device, work, args.backends, args.int8)]
    measures = dict.fromkeys(one.measure for one in found if one.score is not None)
    times = "median, ms", "p95, ms", "processor, ms", "images/s", "peak MB"
    table = Table("backend", "device", "images", *times, *measures)
    for one in found:
        speed, size = one.speed, f"{args.batch} x {one.size[0]}x{one.size[1]}"
        row = [f"{1000 * seconds:.1f}" for seconds in (speed.median, speed.p95, speed.processor)]
        memory = "-" if speed.peak is None else f"{speed.peak / 1e6:.0f}"
        score = [] if one.score is None else [f"{percent(one.score)} %"]
        table.add_row(one.backend, str(one.device), size, *row, f"{args.batch / speed.median:.2f}", memory, *score)
    show(table)
    if args.json:
        figures = {one.backend: one.figures for one in found}
        write_json(args.json, {"batch": args.batch, "machine": here, "backends": figures})
        say(f"written to {args.json}")
    return 0
