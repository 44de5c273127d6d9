"""``segdla train``: train a network, or resume a run."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from segdla.commands.arguments import Parser
from segdla.errors import UserError, in_shell
from segdla.machine.files import unused, write_json
from segdla.machine.imports import collecting_nothing
from segdla.machine.signals import exit_status
from segdla.machine.terminal import console, say, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from segdla.training.run import Run

DESCRIPTION = """Train a network and keep everything about it in a run folder.
On several devices: torchrun --nproc_per_node DEVICES -m segdla train ..."""


def add_arguments(parser: Parser) -> None:
    parser.add_argument("config", nargs="?", help="YAML file, or the name of one in configs/ or in the package")
    parser.add_overrides("the config")
    parser.add_argument("--name", help="name of the run (default: the config's name, numbered if it is taken)")
    parser.add_runs()
    parser.add_argument(
        "--find-lr",
        action="store_true",
        help="begin no run: take 100 steps at rising learning rates, draw their losses and propose train.lr",
    )
    parser.add_argument("--resume", type=Path, metavar="RUN", help="resume this run, under its own config")


def main(args: argparse.Namespace, begin: "Callable[[argparse.Namespace], Run] | None" = None) -> int:
    """Train, print the scores, and return the exit status.

    Of a run that a signal stopped it is 75 if the signal was SIGTERM or SIGUSR1, else 130. ``begin`` opens the run in
    place of ``open_or_resume``.
    """
    with collecting_nothing():
        from segdla.machine import distributed

    with distributed.process_group():
        console.quiet = not distributed.is_main()
        if args.find_lr and begin is None:
            return propose_lr(args)
        run = (begin or open_or_resume)(args)
        if distributed.is_main():
            conclude(run)
    return 0 if run.finished else exit_status(run.stopped_by)


def open_or_resume(args: argparse.Namespace) -> "Run":
    """Train a new run or resume one. Raises UserError if the arguments contradict each other."""
    with collecting_nothing():
        from segdla.config import parse_overrides
        from segdla.training.run import resume, train

    if args.resume:
        words = [word for word in (args.config, *args.overrides) if word]
        if args.name or any("=" not in word for word in words):
            raise UserError("--resume RUN takes the run's own name and config; leave out --name and CONFIG")
        return resume(args.resume, parse_overrides(words))
    if args.config is None:
        raise UserError("name a config, such as configs/quickstart.yaml, or --resume a run")
    return train(args.config, parse_overrides(args.overrides), name=args.name, runs=args.runs)


def propose_lr(args: argparse.Namespace) -> int:
    """Draw the losses of a range test, print a proposal, and return the exit status: 130 if a signal came."""
    from segdla.config import parse_overrides
    from segdla.data.image_writer import write_image
    from segdla.machine import distributed
    from segdla.training.lr_range.from_config import find_lr
    from segdla.training.lr_range.range_test import HIGHEST, LOWEST, NUM_STEPS
    from segdla.visualize import rate_curve

    if args.config is None or args.resume or args.name:
        raise UserError("--find-lr takes a CONFIG, and neither --resume nor --name: it begins no run")
    say(f"up to {NUM_STEPS} steps at learning rates from {LOWEST:g} to {HIGHEST:g}, without schedule and warm-up")
    test = find_lr(args.config, parse_overrides(args.overrides))
    if test is None:
        return 130
    if not distributed.is_main():
        return 0
    picture = unused(args.runs / f"{Path(args.config).stem}_lr.png")
    write_image(picture, rate_curve(test.rates, test.losses, test.smoothed, test.proposal))
    words = shlex.join(["segdla", "train", args.config, *args.overrides])
    if test.proposal is None:
        say(f"the loss falls at none of them: look at {picture}, and at the data: segdla check {in_shell(args.config)}")
    else:
        say(
            f"proposal: train.lr={test.proposal:g}, at which four fifths of the fall are done; look at {picture}\n"
            f"next: {words} train.lr={test.proposal:g}"
        )
    return 0


def conclude(run: "Run") -> None:
    """Print and write the scores of a run, and print the next commands."""
    from segdla.checkpoints.checkpoint import BEST, read_card
    from segdla.evaluation.scores import Scores
    from segdla.evaluation.table import score_table

    if not run.finished:
        say(f"stopped; go on with: segdla train --resume {in_shell(run.folder)}")
        return
    card = read_card(run.folder / BEST)
    assert card.scores is not None, "a checkpoint is written with its scores"
    which, remark = ("last", " (trained on)") if card.trained_on_val else ("best", "")
    say(f"the {which} weights, of step {card.step}; on {card.scores.split}{remark}:")
    if isinstance(card.scores, Scores):
        show(score_table(card.scores))
    write_json(unused(run.folder / "scores.json"), {**card.scores.as_dict(), "trained_on": card.trained_on_val})
    if card.classes.of_nothing:
        weights = f"model.backbone={card.config['model']['backbone']} {in_shell(run.folder, 'model.weights')}"
        say(f"{card.scores.line}\nlook at {run.folder}/curves.png\nnext: segdla train CONFIG {weights}")
        return
    words = ["segdla test", in_shell(run.folder), *["--multiscale"] * (not card.classes.whole_images)]
    words += ["--split test"] * card.trained_on_val
    say(
        f"{card.scores.line}\n"
        f"look at {run.folder}/samples/ (image, truth, prediction) and {run.folder}/curves.png\n"
        f"next: {' '.join(words)}\n"
        f"      segdla predict IMAGES --checkpoint {in_shell(run.folder)}"
    )
