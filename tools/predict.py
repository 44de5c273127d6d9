"""Segment images and videos: python tools/predict.py INPUT ... [--checkpoint C] [--output DIR]"""

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import segdla
from segdla import cli, distributed
from segdla.checkpoint import named, unused
from segdla.prediction import Tally, predict_files
from segdla.prediction.inputs import find_inputs
from segdla.prediction.outputs import KINDS, Output, is_output, latest
from segdla.report import console, ticking

USUAL = ("color", "overlay")


def parser() -> argparse.ArgumentParser:
    made = cli.parser(
        "Segment images and videos, each at its own size: OUTPUT/KIND/NAME.png, of a video .mp4 at its frame rate, and "
        "a legend.png.\nUnder torchrun the inputs are dealt out to its processes. Exit status 1 where an input can't "
        "be read (the rest is\ndone), 2 where nothing is done."
    )
    made.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="images, videos, folders (searched through), globs; - reads paths"
    )
    made.add_argument(
        "--checkpoint",
        metavar="RUN|CHECKPOINT",
        help="or hf://OWNER/NAME (default: the newest run's best; before any, a small one for streets)",
    )
    made.add_argument("--output", type=Path, metavar="DIR", help="default: predictions, numbered if it is taken")
    told = "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    made.add_argument(
        "--output-kind", type=kinds, default=USUAL, metavar="KIND,...", help=f"{told} (default: {','.join(USUAL)})"
    )
    made.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out inputs whose outputs are there, in --output or the newest predictions",
    )
    made.add_argument("--no-legend", action="store_true", help="none in the overlays")
    made.add_argument("--multiscale", action="store_true", help="sum over eval.scales (0.5 to 1.5)")
    made.add_argument("--flip", action="store_true", help="sum over the mirrored image too")
    made.add_argument(
        "--window",
        type=cli.positive,
        nargs=2,
        metavar=("H", "W"),
        help="see images by overlapping windows (default: the run's eval.window, auto: above 8.3 megapixels)",
    )
    made.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    return made


def kinds(word: str) -> tuple[str, ...]:
    """An argument that is a list of kinds."""
    chosen = tuple(dict.fromkeys(word.split(",")))
    unknown = [kind for kind in chosen if kind not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(KINDS)}; join several by commas")
    return chosen


def main(args: argparse.Namespace) -> int:
    with distributed.process_group(patience=timedelta(days=30)):  # one may have the long videos
        console.quiet = not distributed.is_main()
        return predict(args)


def predict(args: argparse.Namespace) -> int:
    usual = Path("predictions")
    folder = args.output or distributed.on_main(lambda: (args.skip_existing and latest(usual)) or unused(usual))
    lines = sys.stdin.buffer if "-" in args.inputs else ()
    inputs = distributed.on_main(lambda: find_inputs(args.inputs, lines, is_output))
    mine = inputs[distributed.rank() :: distributed.world_size()]
    segmenter = segdla.load(
        args.checkpoint,
        args.device,
        multiscale=args.multiscale,
        flip=args.flip,
        window=tuple(args.window) if args.window else None,
        runs=args.runs,
    )
    trained = segmenter.trained
    how = f"{len(trained.classes)} classes, {trained.device}, {trained.computing}"
    console.print(f"{named(args.checkpoint, trained.path)}: {how}", soft_wrap=True)
    output = Output(folder, args.output_kind, segmenter.classes, segmenter.palette, not args.no_legend)
    distributed.on_main(lambda: output.spare(inputs))
    made = distributed.on_main(lambda: output.begin(new=not (args.output or args.skip_existing)))
    with ticking(len(mine), "predicting") as tick:
        tally = predict_files(mine, segmenter.predict, output, cli.complain, tick, args.skip_existing)
    whole = sum(distributed.gathered(tally), Tally())
    if distributed.is_main():
        output.write_legend() if whole.done else output.abandon(made)
    console.print(f"{whole}, in {folder}/", soft_wrap=True)
    return whole.status


def entry(argv: Sequence[str] | None = None) -> int:
    return cli.run(main, parser(), argv)


if __name__ == "__main__":
    sys.exit(entry())
