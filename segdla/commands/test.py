"""``segdla test``: score a trained network on whole images."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from segdla.commands.arguments import Parser, without_checkpoint
from segdla.commands.scoring import add_scoring, open_scoring
from segdla.errors import UserError
from segdla.machine.terminal import console, say, show

if TYPE_CHECKING:
    from segdla.evaluation.scores import Scores
    from segdla.trained.calibrate import Key
    from segdla.trained.score import Evaluation

DESCRIPTION = "Score a trained network by mean IoU; without a RUN, the newest one."


def add_arguments(parser: Parser) -> None:
    parser.add_checkpoint("score")
    parser.add_overrides("the run's config")
    add_scoring(parser)
    parser.add_argument("--save-masks", type=Path, metavar="DIR", help="folder to write class-id and coloured PNGs to")
    parser.add_argument("--report", action="store_true", help="write a page too, as segdla report does")
    fit = "fit the temperature that makes probabilities fit the labels of the split, and keep it in the checkpoint"
    parser.add_argument("--fit-temperature", action="store_true", help=fit)
    fit = "fit the threshold of head sigmoid: the one at which the class's IoU is highest; it is kept in the same way"
    parser.add_argument("--fit-threshold", action="store_true", help=fit)
    submission = "file to write for the Cityscapes server; call again to continue"
    parser.add_argument("--submission", type=Path, metavar="ZIP", help=submission)


def main(args: argparse.Namespace) -> int:
    from segdla.evaluation.temperature import TemperatureFit
    from segdla.evaluation.threshold import ThresholdFit
    from segdla.machine import distributed
    from segdla.report.compose import write_page
    from segdla.report.survey import Survey
    from segdla.trained.calibrate import require_own_card
    from segdla.trained.masks import Masks

    without_checkpoint(args)
    asking = {
        "--fit-temperature": args.fit_temperature,
        "--fit-threshold": args.fit_threshold,
        "--report": args.report,
    }
    of_scores = [option for option, is_on in asking.items() if is_on]
    if args.submission and of_scores:
        raise UserError(f"--submission scores nothing, so leave out {' and '.join(of_scores)}")
    with distributed.process_group():
        console.quiet = not distributed.is_main()
        evaluation = open_scoring(args, args.checkpoint, args.overrides)
        masks = Masks(args.save_masks, evaluation.source) if args.save_masks else None
        for key in fitted_keys(args):
            require_own_card(evaluation.trained, key)
        if args.submission:
            earlier = evaluation.submit(args.submission, masks)
            say(f"{len(evaluation.source)} predictions, {earlier} of them from before: {args.submission}")
        elif masks and not evaluation.source.labelled and not of_scores:
            evaluation.predict([masks.write])
            say(f"masks are in {args.save_masks}/")
        else:
            survey = Survey.of(evaluation) if args.report else None
            evaluators = survey.evaluators if survey else []
            evaluators += [TemperatureFit(len(evaluation.source))] if args.fit_temperature else []
            classes, device = evaluation.source.classes, evaluation.trained.device
            names = classes.names if classes.overlapping else classes.names[1:]
            evaluators += [ThresholdFit(names, device)] if args.fit_threshold else []
            scores = evaluation.score([masks.write] if masks else [], evaluators)
            if distributed.is_main():
                print_scores(args, evaluation, survey.without_pictures(scores) if survey else scores)
            if survey:
                say(f"open {write_page(evaluation, scores, survey)} in a browser")
    return 0


def fitted_keys(args: argparse.Namespace) -> list["Key"]:
    """Return the keys of ``eval`` whose values are to be fitted."""
    asking: dict[Key, bool] = {"temperature": args.fit_temperature, "threshold": args.fit_threshold}
    return [key for key, is_on in asking.items() if is_on]


def print_scores(args: argparse.Namespace, evaluation: "Evaluation", scores: "Scores") -> None:
    """Print the scores and write them beside the checkpoint, or here if that is not the user's own."""
    from segdla.evaluation.table import further_lines, percent, score_table
    from segdla.trained.calibrate import keep_fitted

    words = {"multiscale": f"{len(evaluation.scales)} scales", "flip": "flip", "window": "windows"}
    how = " + ".join(words[option] for option in evaluation.options) or "single scale"
    say(f"{args.split}, {how}; {scores.protocol or 'own classes'}:")
    show(score_table(scores))
    for line in (*further_lines(scores), f"mIoU {percent(scores.mean_iou)} %"):
        say(line)
    say(f"written to {evaluation.write_record(scores)}; each image's scores are beside it")
    for key in fitted_keys(args):
        keep_fitted(evaluation.trained, key, scores.other[key])
        use = "for eval.temperature=fitted" if key == "temperature" else "and used from now on"
        say(f"the {key} is in the checkpoint, {use}")
    if not args.report:
        say("--report makes a page of it, to look at")
