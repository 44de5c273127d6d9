"""The evaluation that ``segdla test`` and ``segdla report`` open, by the options that they share."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from segdla.commands.arguments import Parser
from segdla.errors import UserError
from segdla.machine.terminal import say

if TYPE_CHECKING:
    from segdla.trained.score import Evaluation


def add_scoring(parser: Parser) -> None:
    """Add the options that say on what, and how, a network is scored."""
    parser.add_argument("--split", default="val", choices=("train", "val", "test"), help="split to use (default: val)")
    parser.add_prediction()
    parser.add_runs()
    parser.add_device()


def open_scoring(args: argparse.Namespace, checkpoint: str | None, overrides: Sequence[str]) -> "Evaluation":
    """Open an evaluation, and say what it is of. Raises UserError if something does not fit."""
    from segdla.config import parse_overrides
    from segdla.trained.score import open_evaluation

    evaluation = open_evaluation(
        checkpoint,
        args.split,
        multiscale=args.multiscale,
        flip=args.flip,
        window=args.window and tuple(args.window),
        device=args.device,
        runs=args.runs,
        overrides=parse_overrides(overrides),
    )
    if evaluation.saw_the_split:
        say("it was trained on these images too (data.train_on_val): the score says nothing")
    trained, images = evaluation.trained, f"{evaluation.config.data.dataset} {args.split}"
    say(f"{trained.origin} on {images}, {len(evaluation.source)} images, {trained.device}, {trained.machine}")
    return evaluation


def require_no_masks(args: argparse.Namespace, *names: str) -> None:
    """Raise UserError if one of the options of these names, or of how masks are predicted, is given."""
    given = next((name for name in ("multiscale", "flip", "window", *names) if getattr(args, name)), None)
    if given:
        option = f"--{given}".replace("_", "-")
        raise UserError(f"{option} is for masks, and this network labels whole images; leave it out")


def in_words(evaluation: "Evaluation") -> str:
    """Return how images are predicted."""
    words = {"multiscale": f"{len(evaluation.scales)} scales", "flip": "flip", "window": "windows"}
    return " + ".join(words[option] for option in evaluation.options) or "single scale"
