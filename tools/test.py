"""Evaluate a trained network on whole images: python tools/test.py [RUN|CHECKPOINT] [--multiscale] [--flip] ..."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segdla import cli, distributed
from segdla.build.data import open_split, trains_on_val
from segdla.checkpoint import SHIPPED, folder_of_results, named, unused
from segdla.data.cityscapes import Cityscapes
from segdla.data.dataset import Source
from segdla.errors import UserError
from segdla.evaluation.submission import Submission
from segdla.report import console, score_table, write_json
from segdla.scoring import Masks, count, score
from segdla.trained import Trained, open_trained


def parser() -> argparse.ArgumentParser:
    made = cli.parser("Score a trained network by mean IoU; without a RUN, the newest one.")
    made.add_argument("checkpoint", nargs="?", metavar="RUN|CHECKPOINT", help="default: the newest run's best")
    made.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the run's config")
    made.add_argument("--split", default="val", choices=("train", "val", "test"), help="default: val")
    made.add_argument("--multiscale", action="store_true", help="sum over eval.scales (0.5 to 1.5)")
    made.add_argument("--flip", action="store_true", help="sum over the mirrored image too")
    made.add_argument(
        "--window", type=cli.positive, nargs=2, metavar=("H", "W"), help="predict by overlapping windows (eval.window)"
    )
    made.add_argument("--save-masks", type=Path, metavar="DIR", help="write class-id and coloured PNGs here")
    made.add_argument(
        "--submission", type=Path, metavar="ZIP", help="write what the Cityscapes server takes; call again to go on"
    )
    made.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default: auto)")
    return made


def open_source(args: argparse.Namespace, trained: Trained) -> Source:
    """The split, where it can be tested on with this checkpoint and these options."""
    source = open_split(trained.config, args.split)
    if list(source.classes.names) != trained.card["classes"]:
        raise UserError(
            f"{trained.path} was trained for the classes {', '.join(trained.classes)}, but the data "
            f"set has {', '.join(source.classes.names)}; test it on data of its own classes"
        )
    if args.submission and not isinstance(source, Cityscapes):
        raise UserError(f"--submission is for Cityscapes, not for {trained.config.data.dataset}; take --save-masks")
    if isinstance(source, Cityscapes) and not source.labelled and not (args.submission or args.save_masks):
        raise UserError(
            "the truth of Cityscapes' test split is the server's secret: write what the server scores with "
            "--submission out.zip, or score --split val"
        )
    return source


def main(args: argparse.Namespace) -> int:
    with distributed.process_group():
        console.quiet = not distributed.is_main()
        return run(args)


def run(args: argparse.Namespace) -> int:
    if args.checkpoint and "=" in args.checkpoint and not Path(args.checkpoint).exists():  # only overrides were given
        args.checkpoint, args.overrides = None, [args.checkpoint, *args.overrides]
    overrides = [*args.overrides, *([f"eval.window={args.window}"] if args.window else [])]
    trained = open_trained(args.checkpoint, args.device, args.runs, overrides, as_trained=True)
    if args.checkpoint is None and trained.path == SHIPPED:
        console.print(named(args.checkpoint, trained.path), soft_wrap=True)
    settings = trained.config
    source = open_source(args, trained)
    scales = settings.eval.scales if args.multiscale else (1.0,)
    trained_on = args.split == "val" and trains_on_val(settings)
    how = {
        "checkpoint": str(trained.path),
        "step": trained.card["step"],
        "dataset": settings.data.dataset,
        "protocol": source.classes.protocol,
        "split": f"{args.split}, trained on" if trained_on else args.split,
        "images": len(source),
        "scales": list(scales),
        "flip": args.flip,
        "window": settings.eval.window,
        "overlap": settings.eval.overlap,
        "merge": settings.eval.merge,
        "precision": trained.precision,
        "device": str(trained.device),
    }
    if trained_on:
        console.print("it was trained on these images too (data.train_on_val): the score says nothing", soft_wrap=True)
    masks = Masks(args.save_masks, source) if args.save_masks else None
    outputs = [masks.write] if masks else []
    submission = None
    if args.submission:
        submission = distributed.on_main(lambda: Submission(args.submission, source, trained.path, how))
    predict = trained.predictor(scales, args.flip)
    on = f"{settings.data.dataset} {args.split}, {len(source)} images, {trained.device}, {trained.computing}"
    console.print(f"{trained.path} on {on}", soft_wrap=True)

    if submission:
        done = distributed.on_main(lambda: _from_before(submission, masks))
        if len(done) < len(source):
            count(trained, source.without(done), predict, [submission.write, *outputs])
        distributed.on_main(submission.finish)
        console.print(f"{len(source)} predictions, {len(done)} of them from before: {args.submission}", soft_wrap=True)
        return 0
    if isinstance(source, Cityscapes) and not source.labelled:
        count(trained, source, predict, outputs)
        console.print(f"masks are in {args.save_masks}/", soft_wrap=True)
        return 0
    scores = score(trained, source, predict, outputs)
    if math.isnan(scores["mean_iou"]):
        raise UserError(f"the {args.split} split has no labelled pixel, so nothing can be scored; check its masks")
    if distributed.is_main():
        tell(args, trained.path, scores, how)
    return 0


def _from_before(submission: Submission, masks: Masks | None) -> set[str]:
    """The images that need no prediction any more; their masks are those of the submission, whatever was there."""
    done = submission.done()
    for name in done if masks else ():
        masks.write(name, submission.prediction(name))
    return done


def tell(args: argparse.Namespace, checkpoint: Path, scores: dict[str, Any], how: dict[str, Any]) -> None:
    """Show the scores, and keep them as JSON beside the checkpoint; of one from the hub or the package, here."""
    options = {"multiscale": args.multiscale, "flip": args.flip, "window": not isinstance(how["window"], str)}
    named = {"multiscale": f"{len(how['scales'])} scales", "flip": "flip", "window": "windows"}
    chosen = [name for name, on in options.items() if on]
    said = " + ".join(named[name] for name in chosen) or "single scale"
    console.print(f"{args.split}, {said}; {how['protocol'] or 'own classes'}:")
    console.print(score_table(scores))
    console.print(f"mIoU {100 * scores['mean_iou']:.2f} %")
    folder = folder_of_results(args.checkpoint, checkpoint)
    record = unused(folder / f"{'_'.join(['eval', args.split, *chosen])}.json")
    write_json(record, {**scores, "settings": how})
    console.print(f"written to {record}", soft_wrap=True)


def entry(argv: Sequence[str] | None = None) -> int:
    return cli.run(main, parser(), argv)


if __name__ == "__main__":
    sys.exit(entry())
