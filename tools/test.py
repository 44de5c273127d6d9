"""Evaluate a trained network on whole images: python tools/test.py [RUN|CHECKPOINT] [--multiscale] [--flip] ..."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from segdla import build, cli, config
from segdla.checkpoint import find_checkpoint, read_weights, unused
from segdla.data.loader import Batch
from segdla.errors import UserError
from segdla.evaluation import evaluate
from segdla.report import console, progress, score_table, write_json
from segdla.trained import predictor
from segdla.visualize import colorize, write_image


def parser() -> argparse.ArgumentParser:
    made = cli.parser("Score a trained network by mean IoU; without a RUN, the newest one.")
    made.add_argument("checkpoint", nargs="?", metavar="RUN|CHECKPOINT", help="default: the newest run's best")
    made.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the run's config")
    made.add_argument("--split", default="val", choices=("train", "val", "test"), help="default: val")
    made.add_argument("--multiscale", action="store_true", help="sum over eval.scales (0.5 to 1.5)")
    made.add_argument("--flip", action="store_true", help="sum over the mirrored image too")
    made.add_argument("--window", type=cli.positive, nargs=2, metavar=("H", "W"), help="predict by overlapping windows")
    made.add_argument("--save-masks", type=Path, metavar="DIR", help="write class-id and coloured PNGs here")
    made.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    return made


def main(args: argparse.Namespace) -> int:
    if args.checkpoint and "=" in args.checkpoint and not Path(args.checkpoint).exists():  # only overrides were given
        args.checkpoint, args.overrides = None, [args.checkpoint, *args.overrides]
    checkpoint = read_weights(find_checkpoint(args.checkpoint, args.runs))
    settings = config.parse(checkpoint.card["config"], args.overrides, source=f"the config of {checkpoint.path}")
    source = build.source(settings, args.split)
    if list(source.classes.names) != checkpoint.card["classes"]:
        raise UserError(
            f"{checkpoint.path} was trained for the classes {', '.join(checkpoint.card['classes'])}, but the data "
            f"set has {', '.join(source.classes.names)}; test it on data of its own classes"
        )
    if args.save_masks and len({source.name(i) for i in range(len(source))}) < len(source):
        raise UserError("two images have one name, and so would their masks; leave out --save-masks")
    device = build.device(args.device)
    network = build.trained(checkpoint, settings, device)
    scales = settings.eval.scales if args.multiscale else (1.0,)
    window = tuple(args.window) if args.window else None
    predict = predictor(settings, network, device, scales=scales, with_flip=args.flip, window=window)
    console.print(f"{checkpoint.path} on {settings.data.dataset} {args.split}, {len(source)} images", soft_wrap=True)

    def save(batch: Batch, prediction: Tensor) -> None:
        for name, ids in zip(batch.names, prediction.numpy(), strict=True):
            write_image(args.save_masks / "ids" / f"{name}.png", ids)
            write_image(args.save_masks / "color" / f"{name}.png", colorize(ids, source.classes.palette))

    images = progress(build.whole_images(settings, source, device), "evaluating")
    keep = save if args.save_masks else None
    confusion = evaluate(predict, images, len(source.classes), device, keep)

    how = [f"{len(scales)} scales"] * args.multiscale + ["flip"] * args.flip + ["windows"] * bool(window)
    scores = confusion.scores(source.classes.names)
    console.print(f"{args.split}, {' + '.join(how) or 'single scale'}; {source.classes.protocol or 'own classes'}:")
    console.print(score_table(scores))
    console.print(f"mIoU {100 * scores['mean_iou']:.2f} %")
    options = {"multiscale": args.multiscale, "flip": args.flip, "window": bool(window)}
    stem = "_".join(["eval", args.split, *(name for name, on in options.items() if on)])
    record = unused(checkpoint.path.parent / f"{stem}.json")
    write_json(record, {
        **scores,
        "settings": {
            "checkpoint": str(checkpoint.path),
            "step": checkpoint.card["step"],
            "dataset": settings.data.dataset,
            "protocol": source.classes.protocol,
            "split": args.split,
            "images": len(source),
            "scales": list(scales),
            "flip": args.flip,
            "window": window,
            "overlap": settings.eval.overlap,
            "merge": settings.eval.merge,
            "precision": build.precision(settings.train.precision, device),
            "device": str(device),
        },
    })  # fmt: skip
    console.print(f"written to {record}", soft_wrap=True)
    return 0


def entry(argv: Sequence[str] | None = None) -> int:
    return cli.run(main, parser(), argv)


if __name__ == "__main__":
    sys.exit(entry())
