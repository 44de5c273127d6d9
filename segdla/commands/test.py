"""``segdla test``: score a trained network on whole images."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segdla.commands.arguments import Parser, without_checkpoint
from segdla.commands.scoring import add_scoring, in_words, open_scoring, require_no_masks
from segdla.errors import UserError
from segdla.machine.terminal import console, say, show

if TYPE_CHECKING:
    from segdla.evaluation.scores import Scores
    from segdla.trained.score import Evaluation

DESCRIPTION = """Score a trained network by mean IoU or, if it labels whole images, by top-1 and top-5.
Without a RUN, the newest one."""


def add_arguments(parser: Parser) -> None:
    parser.add_checkpoint("score")
    parser.add_overrides("the run's config")
    add_scoring(parser)
    parser.add_argument("--save-masks", type=Path, metavar="DIR", help="folder to write class-id and coloured PNGs to")
    parser.add_argument("--report", action="store_true", help="write a page too, as segdla report does")
    fits: dict[str, Any] = {"action": "append_const", "dest": "fit", "default": []}  # keys of the section eval
    fit = "fit the temperature that makes probabilities fit the labels of the split, and keep it in the checkpoint"
    parser.add_argument("--fit-temperature", **fits, const="temperature", help=fit)
    fit = "fit the threshold of head sigmoid: the one at which the class's IoU is highest; it is kept in the same way"
    parser.add_argument("--fit-threshold", **fits, const="threshold", help=fit)
    parser.add_argument("--submission", type=Path, metavar="ZIP", help="Cityscapes' submission; call again to go on")


def main(args: argparse.Namespace) -> int:
    from segdla.machine import distributed
    from segdla.report.compose import write_page
    from segdla.report.survey import Survey
    from segdla.trained.calibrate import fit_of, require_own_card
    from segdla.trained.masks import Masks
    from segdla.trained.open import labels_whole_images

    without_checkpoint(args)
    if labels_whole_images(args.checkpoint, args.runs):
        return test_classifier(args)
    of_scores = [*(f"--fit-{key}" for key in args.fit), *["--report"] * args.report]
    if args.submission and of_scores:
        raise UserError(f"--submission scores nothing, so leave out {' and '.join(of_scores)}")
    with distributed.process_group():
        console.quiet = not distributed.is_main()
        evaluation = open_scoring(args, args.checkpoint, args.overrides)
        masks = Masks(args.save_masks, evaluation.source) if args.save_masks else None
        for key in args.fit:
            require_own_card(evaluation.trained, key)
        if args.submission:
            earlier = evaluation.submit(args.submission, masks)
            say(f"{len(evaluation.source)} predictions, {earlier} of them from before: {args.submission}")
        elif masks and not evaluation.source.labelled and not of_scores:
            evaluation.predict([masks.write])
            say(f"masks are in {args.save_masks}/")
        else:
            survey = Survey.of(evaluation) if args.report else None
            fits = [fit_of(key, evaluation.source, evaluation.trained.device) for key in args.fit]
            scores = evaluation.score([masks.write] if masks else [], [*(survey.evaluators if survey else []), *fits])
            if distributed.is_main():
                print_scores(args, evaluation, survey.without_pictures(scores) if survey else scores)
            if survey:
                say(f"open {write_page(evaluation, scores, survey)} in a browser")
    return 0


def test_classifier(args: argparse.Namespace) -> int:
    """Score a network that labels whole images. Raises UserError if an option is for masks."""
    from segdla.config import parse_overrides
    from segdla.machine import distributed
    from segdla.trained.classifier import load_classifier

    require_no_masks(args, "save_masks", "report", "fit", "submission")
    with distributed.process_group():
        console.quiet = not distributed.is_main()
        classifier = load_classifier(
            args.checkpoint, args.device, runs=args.runs, overrides=parse_overrides(args.overrides)
        )
        trained = classifier.trained
        say(f"{trained.origin}: {len(classifier.classes)} classes, {trained.device}, {trained.machine}")
        scores = classifier.evaluate(args.split)
        if distributed.is_main():
            say(f"{args.split}, {scores.images} images: {scores.line}")
            say(f"written to {classifier.write_record(scores)}")
    return 0


def print_scores(args: argparse.Namespace, evaluation: "Evaluation", scores: "Scores") -> None:
    """Print the scores and write them beside the checkpoint, or here if that is not the user's own."""
    from segdla.evaluation.table import further_lines, percent, score_table
    from segdla.trained.calibrate import keep_fitted

    say(f"{args.split}, {in_words(evaluation)}; {scores.protocol or 'own classes'}:")
    show(score_table(scores))
    say("\n".join([*further_lines(scores), f"mIoU {percent(scores.mean_iou)} %"]))
    say(f"written to {evaluation.write_record(scores)}; each image's scores are beside it")
    for key in args.fit:
        say(keep_fitted(evaluation.trained, key, scores.other[key]))
    if not args.report:
        say("--report makes a page of it, to look at")
