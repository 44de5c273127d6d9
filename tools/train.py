"""Train a network: python tools/train.py CONFIG [section.key=value ...] [--name NAME] | --resume RUN

On several devices: torchrun --nproc_per_node DEVICES tools/train.py ...
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from segdla import cli, config, distributed
from segdla.build import training
from segdla.checkpoint import BEST, CONFIG, read_weights, unused
from segdla.errors import UserError
from segdla.report import console, score_table, write_json


def parser() -> argparse.ArgumentParser:
    made = cli.parser("Train a network and keep everything about it in a run folder.")
    made.add_argument("config", nargs="?", help="YAML file; see configs/ (not with --resume)")
    made.add_argument("overrides", nargs="*", metavar="section.key=value", help="changes to the config")
    made.add_argument("--name", help="of the run (default: the config's name, numbered if it is taken)")
    made.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    made.add_argument("--resume", type=Path, metavar="RUN", help="go on with this run, under its own config")
    return made


def run_and_config(args: argparse.Namespace) -> tuple[Path, config.Config]:
    """The run's folder and what to do there."""
    if args.resume:
        overrides = [word for word in (args.config, *args.overrides) if word]
        if args.name or any("=" not in word for word in overrides):
            raise UserError("--resume RUN takes the run's own name and config; leave out --name and CONFIG")
        if not (args.resume / CONFIG).is_file():
            raise UserError(
                f"cannot resume {args.resume}: there is no {args.resume / CONFIG}; runs are folders in runs/"
            )
        return args.resume, config.load(args.resume / CONFIG, overrides)
    if args.config is None:
        raise UserError("name a config, such as configs/quickstart.yaml, or --resume a run")
    settings = config.load(args.config, args.overrides)
    run = args.runs / (args.name or Path(args.config).stem)
    if args.name and run.exists():
        remedy = f"go on with it: --resume {run}" if (run / CONFIG).is_file() else "remove it: it holds no run"
        raise UserError(f"{run} exists; choose another --name, or {remedy}")
    return unused(run), settings


def main(args: argparse.Namespace) -> int:
    with distributed.process_group():
        console.quiet = not distributed.is_main()
        run, settings = distributed.on_main(lambda: run_and_config(args))
        finished = training.train(settings, run, resume=args.resume is not None)
        if distributed.is_main():
            conclude(run, finished)
    return 0 if finished else 130


def conclude(run: Path, finished: bool) -> None:
    """Say what came of it, and what to do next."""
    if not finished:
        console.print(f"stopped; go on with: python tools/train.py --resume {run}", soft_wrap=True)
        return
    checkpoint = read_weights(run / BEST)
    scores = checkpoint.card["scores"]
    trained_on_val = checkpoint.card["config"]["data"].get("train_on_val", False)
    console.print(
        f"the {'last' if trained_on_val else 'best'} weights, of step {checkpoint.card['step']}; on {scores['split']}:"
    )
    console.print(score_table(scores))
    write_json(unused(run / "scores.json"), scores)
    console.print(
        f"mIoU {100 * scores['mean_iou']:.2f} %\n"
        f"look at {run}/samples/ (image, truth, prediction) and {run}/curves.png\n"
        f"next: python tools/test.py {run} --multiscale{' --split test' if trained_on_val else ''}\n"
        f"      python tools/predict.py IMAGES --checkpoint {run}",
        soft_wrap=True,
    )


def entry(argv: Sequence[str] | None = None) -> int:
    return cli.run(main, parser(), argv)


if __name__ == "__main__":
    sys.exit(entry())
