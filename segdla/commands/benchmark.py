"""``segdla benchmark``: size and speed of a network."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from segdla.commands.arguments import Parser, positive
from segdla.errors import UserError
from segdla.machine.files import write_json
from segdla.machine.terminal import say, show

if TYPE_CHECKING:
    from segdla.trained.backends import Measurement

DESCRIPTION = """Print the parameters and multiply-accumulates of a network. For every backend that is installed, print
the time from image to class ids, images a second, and peak memory beyond the network's own."""


def add_arguments(parser: Parser) -> None:
    parser.add_argument("network", metavar="CONFIG|RUN|CHECKPOINT|EXPORTED", help="network to measure")
    parser.add_overrides("its config")
    parser.add_argument(
        "--size", type=positive, nargs=2, default=(512, 1024), metavar=("H", "W"), help="image size (default: 512 1024)"
    )
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="images at a time (default: 1)")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each backend (default: 10)")
    which = "backends to measure: eager, compiled, onnx, openvino, ncnn, litert (default: every one that is installed)"
    parser.add_argument("--backends", nargs="+", metavar="BACKEND", help=which)
    parser.add_device()
    parser.add_argument("--json", type=Path, metavar="FILE", help="file to write the figures to")


def main(args: argparse.Namespace) -> int:
    if args.json and args.json.exists():
        raise UserError(f"{args.json} exists; choose another --json")
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"no folder {args.json.parent} for --json {args.json.name}; make it first")
    table = Table("backend", "device", "median, ms", "p95, ms", "images/s", "peak MB")
    table.title = f"{args.batch} x {args.size[0]}x{args.size[1]}"
    figures = {}
    for backend, device, speed in measure(args):
        figures[backend] = {**speed._asdict(), "device": str(device)}
        times = f"{1000 * speed.median:.1f}", f"{1000 * speed.p95:.1f}"
        memory = "-" if speed.peak is None else f"{speed.peak / 1e6:.0f}"
        table.add_row(backend, str(device), *times, f"{args.batch / speed.median:.2f}", memory)
    show(table)
    if args.json:
        write_json(args.json, {"batch": args.batch, "size": args.size, "backends": figures})
        say(f"written to {args.json}")
    return 0


def measure(args: argparse.Namespace) -> "Iterator[Measurement]":
    """Print how large the network is, and yield the measurement of each backend."""
    from segdla.config import parse_overrides
    from segdla.export.formats import is_exported
    from segdla.machine.device import choose_device
    from segdla.models.macs import count_macs
    from segdla.trained.backends import Work, measure_backends, measure_file, open_network

    device, overrides = choose_device(args.device), parse_overrides(args.overrides)
    work = Work(tuple(args.size), args.batch, args.seconds)
    if is_exported(Path(args.network)):
        if overrides or args.backends:
            raise UserError(f"{args.network} is one backend, as it was exported; leave out overrides and --backends")
        yield measure_file(Path(args.network), device, work)
        return
    network, config = open_network(args.network, overrides)
    parameters = sum(p.numel() for p in network.parameters())
    say(
        f"{config.model.title}: {parameters / 1e6:.2f} M parameters, "
        f"{count_macs(network, *args.size) / 1e9:.1f} GMAC at {args.size[0]}x{args.size[1]}"
    )
    yield from measure_backends(network, config, device, work, args.backends)
