"""Write a trained network for other runtimes: python tools/export.py [RUN|CHECKPOINT] --format onnx|openvino|torch"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.table import Table

from segdla import build, cli, config
from segdla.build.data import open_split
from segdla.build.predictor import predictor
from segdla.checkpoint import find_checkpoint, folder_of_results, named, read_weights, unused
from segdla.data.dataset import Some, Source
from segdla.errors import UserError
from segdla.evaluation import evaluate
from segdla.export import FORMATS, Opened, export, open_exported
from segdla.export.place import leave_alone, unchecked
from segdla.export.verify import Difference, differences, pictures
from segdla.inference.predictors import Predictor
from segdla.report import console, progress

CPU = torch.device("cpu")
NUM_CALIBRATION = 64


def parser() -> argparse.ArgumentParser:
    made = cli.parser(
        "Write a trained network as one file that takes RGB bytes (batch, 3, height, width) of any size and gives the\n"
        "logits and the class ids; it is kept only if it computes what the network does."
    )
    made.add_argument("checkpoint", nargs="?", metavar="RUN|CHECKPOINT", help="default: the newest run's best")
    made.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the run's config")
    made.add_argument("--format", default="onnx", choices=FORMATS, help="default: onnx")
    made.add_argument("--int8", action="store_true", help="convolutions in int8, by what they see in training images")
    made.add_argument("--output", type=Path, metavar="FILE", help="default: beside the checkpoint")
    made.add_argument("--images", type=cli.positive, default=20, help="validation images to score it on (default: 20)")
    made.add_argument(
        "--max-drop", type=float, default=2.0, help="points of mIoU that int8 may cost (default: 2); else no file"
    )
    made.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    return made


def place(args: argparse.Namespace, checkpoint: Path) -> Path:
    suffix = FORMATS[args.format].SUFFIX
    if args.output is None:
        folder = folder_of_results(args.checkpoint, checkpoint)
        path = unused(folder / (checkpoint.stem + "_int8" * args.int8 + suffix))
    else:
        path = args.output
    if path.suffix != suffix:
        raise UserError(f"{path} must end in {suffix} for --format {args.format}")
    leave_alone(path, args.format)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another --output") from error
    return path


def main(args: argparse.Namespace) -> int:
    if args.checkpoint and "=" in args.checkpoint and not Path(args.checkpoint).exists():  # only overrides were given
        args.checkpoint, args.overrides = None, [args.checkpoint, *args.overrides]
    if args.int8 and not FORMATS[args.format].INT8:
        raise UserError(f"--int8 is for {' and '.join(k for k, f in FORMATS.items() if f.INT8)}, not for {args.format}")
    checkpoint = read_weights(find_checkpoint(args.checkpoint, args.runs))
    settings = config.parse(checkpoint.card["config"], args.overrides, source=str(checkpoint.path))
    network = build.trained(checkpoint, settings, CPU)
    path = place(args, checkpoint.path)
    calibration = None
    if not args.max_drop >= 0:
        raise UserError(f"--max-drop {args.max_drop} is no number of points from 0 on")
    if args.int8:
        training = Some(open_split(settings, "train"), NUM_CALIBRATION)
        calibration = (training.read(i)[0] for i in progress(range(len(training)), "calibrating"))

    console.print(f"{named(args.checkpoint, checkpoint.path)} to {args.format}{', int8' * args.int8}", soft_wrap=True)
    with unchecked(path) as folder:
        made = folder / path.name
        export(network, checkpoint.card, made, args.format, calibration)
        opened = open_exported(made, CPU)
        found = differences(network, opened, pictures())
        console.print(table(found))
        if not args.int8 and not all(difference.small for difference in found):
            raise UserError(f"the {args.format} file computes something else than the network: it is not kept")
        drop = score(args, settings, network.logits, opened)
        if args.int8 and drop is None:
            console.print("nothing to score int8 on: its accuracy is unknown")
        elif drop is not None and not 100 * drop <= (args.max_drop if args.int8 else 0.1):
            raise UserError(f"the {args.format} file loses {100 * drop:.2f} points of mIoU: it is not kept")
        files = list(folder.iterdir())  # OpenVINO's are two
        size = sum(file.stat().st_size for file in files)
        leave_alone(path, args.format)  # minutes later
        for file in files:
            file.replace(path.with_name(file.name))
    console.print(f"written to {path} ({size / 1e6:.1f} MB)", soft_wrap=True)
    return 0


def table(found: Sequence[Difference]) -> Table:
    made = Table("images", "largest difference of logits", "of logits up to", "pixels of another class")
    for d in found:
        share = f"{d.differing} of {d.pixels}"
        made.add_row(f"{d.size[0]}x{d.size[1]}", f"{d.logits:.2g}", f"{d.largest:.3g}", share)
    return made


def score(args: argparse.Namespace, settings: config.Config, logits: Predictor, opened: Opened) -> float | None:
    """By how much the file's mIoU is below the network's, on a few validation images; None where they tell nothing."""
    try:
        images = Some(open_split(settings, "val"), args.images)
    except UserError as error:
        console.print(f"not scored: {error}", soft_wrap=True)
        return None
    found = [mean_iou(settings, images, one, opened.stride) for one in (logits, opened.logits)]
    if math.isnan(found[0]):
        console.print(f"not scored: no labelled pixel in {len(images)} validation images")
        return None
    console.print(f"mIoU on {len(images)} validation images: {100 * found[0]:.2f} %, exported {100 * found[1]:.2f} %")
    return found[0] - found[1]


def mean_iou(settings: config.Config, images: Source, logits: Predictor, stride: int) -> float:
    batches = progress(build.whole_images(settings, images, CPU), "scoring")
    confusion = evaluate(predictor(logits, stride, settings.eval), batches, len(images.classes), CPU)
    return float(confusion.scores(images.classes.names)["mean_iou"])


def entry(argv: Sequence[str] | None = None) -> int:
    return cli.run(main, parser(), argv)


if __name__ == "__main__":
    sys.exit(entry())
