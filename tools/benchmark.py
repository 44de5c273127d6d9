"""Size and speed of a network: python tools/benchmark.py CONFIG|RUN|CHECKPOINT|EXPORTED [--size H W]"""

import argparse
import copy
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.table import Table

from segdla import build, cli, config
from segdla.build.data import open_split
from segdla.build.learning import compiled
from segdla.build.memory import is_lack_of_memory
from segdla.build.predictor import predictor
from segdla.checkpoint import find_checkpoint, read_weights
from segdla.errors import UserError
from segdla.export import FORMATS, SUFFIXES, export, open_exported
from segdla.inference.predictors import Predictor, in_precision
from segdla.models.fold import folded
from segdla.models.macs import count_macs
from segdla.models.segmenter import DLASeg
from segdla.report import console, write_json
from segdla.speed import Speed, measure

NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "onnxruntime", "openvino")}


def parser() -> argparse.ArgumentParser:
    made = cli.parser(
        "Parameters, multiply-accumulates, and for every backend that is installed: latency from image to class ids,\n"
        "images a second, and peak memory beyond the network's own."
    )
    made.add_argument("network", metavar="CONFIG|RUN|CHECKPOINT|EXPORTED")
    made.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to its config")
    made.add_argument("--size", type=cli.positive, nargs=2, default=(512, 1024), metavar=("H", "W"), help="512 1024")
    made.add_argument("--batch", type=cli.positive, default=1, help="images at a time (default: 1)")
    made.add_argument("--seconds", type=float, default=10.0, help="for each backend (default: 10)")
    made.add_argument("--backends", nargs="+", choices=("eager", "compiled", *NEEDS), help="default: all there are")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return made


def open_network(args: argparse.Namespace) -> tuple[DLASeg, config.Config]:
    """The network on the CPU: with the weights of a run or checkpoint, or as a config makes it."""
    if not args.network.endswith((".yaml", ".yml")):
        checkpoint = read_weights(find_checkpoint(args.network))
        settings = config.parse(checkpoint.card["config"], args.overrides, source=str(checkpoint.path))
        return build.trained(checkpoint, settings, torch.device("cpu")), settings
    settings = config.load(args.network, args.overrides)
    try:
        num_classes = len(open_split(settings, "train").classes)
    except UserError as error:
        num_classes = 19
        console.print(f"with 19 classes, as the data set is not here ({error})", soft_wrap=True)
    return build.model(settings, num_classes).eval(), settings


def backends(args: argparse.Namespace, device: torch.device, folder: Path) -> Iterator[tuple[str, torch.device, Speed]]:
    """The name of each backend, where it computes, and how fast."""
    size = f"{args.size[0]}x{args.size[1]}"

    def timed(name: str, logits: Predictor, stride: int, on: torch.device) -> tuple[str, torch.device, Speed]:
        try:
            images = torch.randint(0, 256, (args.batch, 3, *args.size), dtype=torch.uint8, device=on)
            predict = predictor(logits, stride, config.EvalConfig(window="whole"))
            return name, on, measure(partial(predict, images), on, args.seconds)
        except (MemoryError, RuntimeError) as error:
            if not is_lack_of_memory(error):
                raise
            raise UserError(
                f"out of memory on {on}; lower --batch (now {args.batch}) or --size (now {size})"
            ) from error

    build.precision("fp32", device)  # of exported files
    if Path(args.network).suffix in SUFFIXES:
        if args.overrides or args.backends:
            raise UserError(f"{args.network} is one backend, as it was exported; leave out overrides and --backends")
        path = find_checkpoint(args.network)
        opened = open_exported(path, device)
        yield timed(f"{path.suffix} {opened.precision}", opened.logits, opened.stride, opened.device)
        return
    network, settings = open_network(args)
    console.print(
        f"{settings.model.backbone}, output stride {network.output_stride}: "
        f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters, "
        f"{count_macs(network, *args.size) / 1e9:.1f} GMAC at {size}"
    )
    precision = build.precision(settings.train.precision, device)
    installed = (kind for kind, packages in NEEDS.items() if all(map(find_spec, packages)))
    wanted = args.backends or ["eager", "compiled", *installed]
    stride = network.output_stride
    for kind in [kind for kind in wanted if kind in FORMATS]:  # first, as the rest changes the network
        path = folder / f"network{FORMATS[kind].SUFFIX}"
        export(network, {}, path, kind)
        opened = open_exported(path, device)
        yield timed(f"{kind} fp32", opened.logits, stride, opened.device)
    network = network.to(device, memory_format=torch.channels_last)
    if "compiled" in wanted:
        logits = compiled(folded(copy.deepcopy(network)).logits, device)
        yield timed(f"compiled {precision}", in_precision(logits, device, precision), stride, device)
    if "eager" in wanted:
        logits = build.for_prediction(network, device, precision).logits
        yield timed(f"eager {precision}", in_precision(logits, device, precision), stride, device)


def main(args: argparse.Namespace) -> int:
    if args.json and args.json.exists():
        raise UserError(f"{args.json} exists; choose another --json")
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"no folder {args.json.parent} for --json {args.json.name}; make it first")
    device = build.device(args.device)
    table = Table("backend", "device", "median, ms", "p95, ms", "images/s", "peak MB")
    table.title = f"{args.batch} x {args.size[0]}x{args.size[1]}"
    found: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for name, on, speed in backends(args, device, Path(folder)):
            found[name] = {**speed._asdict(), "device": str(on)}
            memory = "-" if speed.peak is None else f"{speed.peak / 1e6:.0f}"
            rate = args.batch / speed.median
            table.add_row(name, str(on), f"{1000 * speed.median:.1f}", f"{1000 * speed.p95:.1f}", f"{rate:.2f}", memory)
    console.print(table)
    if args.json:
        write_json(args.json, {"batch": args.batch, "size": args.size, "backends": found})
        console.print(f"written to {args.json}", soft_wrap=True)
    return 0


def entry(argv: Sequence[str] | None = None) -> int:
    return cli.run(main, parser(), argv)


if __name__ == "__main__":
    sys.exit(entry())
