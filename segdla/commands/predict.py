"""``segdla predict``: segment images and videos."""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segdla.commands.arguments import Parser
from segdla.commands.scoring import require_no_masks
from segdla.errors import UserError, quoted
from segdla.machine.files import unused
from segdla.machine.imports import collecting_nothing
from segdla.machine.remote.remote_path import as_path
from segdla.machine.terminal import complain, console, growing_progress, say
from segdla.media.kinds import KINDS, POLYGONS

if TYPE_CHECKING:
    from segdla.media.inputs import Input
    from segdla.media.label_outputs import LabelOutputs
    from segdla.media.outputs import Output
    from segdla.media.run import Predict
    from segdla.trained.open import TrainedNetwork
    from segdla.trained.segmenter import Segmenter

    Opened = tuple[TrainedNetwork, Predict, Callable[[], Predict] | None, Output]

DESCRIPTION = """Segment images and videos, each at its own size. An image becomes OUTPUT/KIND/NAME.png, a video
OUTPUT/KIND/NAME.mp4 with its frames' times; a legend.png lies beside them. A network that labels whole images gives the
five most probable classes, as OUTPUT/labels/NAME.json and below the image in OUTPUT/overlay/NAME.png.
Under torchrun the inputs are dealt out to the processes. The exit status is 1 if an input can't be read (the rest is
done), 2 if nothing is done."""
USUAL = ("color", "overlay")
_KINDS = KINDS | POLYGONS
_MOST_TOLD = 20  # images whose classes are printed too


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="images, videos, folders (searched through) and globs, also by URL (s3://, gs://, az://, https://, "
        "hf://datasets/); - reads paths from stdin; camera:0 records a camera until Ctrl-C",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="RUN|CHECKPOINT",
        help="network to use, also hf://OWNER/NAME, a URL or an exported file (default: the newest run that knows more "
        "than drawn scenes; before there is one, a small network for streets)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="folder to write to, also s3://BUCKET/FOLDER (default: predictions, numbered if it is taken)",
    )
    each = "; ".join(f"{kind}: {description}" for kind, description in _KINDS.items())
    parser.add_argument(
        "--output-kind",
        type=kinds,
        default=USUAL,
        metavar="KIND,...",
        help=f"kinds of output. {each} (default: {','.join(USUAL)})",
    )
    parser.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out inputs whose outputs are there already, in --output or the newest predictions",
    )
    parser.add_argument(
        "--smooth",
        action="store_true",
        help="average the scores of a video's frames along the motion, so that classes flicker less",
    )
    add_many(parser)
    parser.add_argument("--no-legend", action="store_true", help="draw no legend in the overlays")
    parser.add_polygons()
    parser.add_prediction()
    parser.add_runs()
    parser.add_device()


def add_many(parser: Parser) -> None:
    """Add the options for many files."""
    group = parser.add_argument_group("many files")
    group.add_argument(
        "--manifest",
        metavar="NAME.jsonl|NAME.parquet",
        help="folder or URL where each input is recorded once it is done. The same command, started any number of "
        "times, on any machines that share it, does each input once; after a kill, start it again",
    )
    group.add_argument("--retry-failed", action="store_true", help="do inputs anew that the manifest lists as failed")
    group.add_argument(
        "--dry-run", action="store_true", help="count inputs, and tell from a sample how long they take; write nothing"
    )
    group.add_argument("--price", type=price, metavar="PER_HOUR", help="of a worker; --dry-run then tells the cost")


def price(word: str) -> float:
    """Parse an amount of money."""
    try:
        amount = float(word)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise argparse.ArgumentTypeError(f"{quoted(word, 60)} is no price of an hour, such as 2.50")
    return amount


def kinds(word: str) -> tuple[str, ...]:
    """Parse a list of kinds."""
    chosen = tuple(dict.fromkeys(word.split(",")))
    unknown = [kind for kind in chosen if kind not in _KINDS]
    if unknown:
        near = get_close_matches(unknown[0].lower(), _KINDS, 1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise argparse.ArgumentTypeError(
            f"{quoted(unknown[0], 60)} is none of {', '.join(_KINDS)}; {guess}join several by commas"
        )
    return chosen


def main(args: argparse.Namespace) -> int:
    require_fit(args)
    if args.manifest or args.dry_run:
        from segdla.commands.predict_many import predict_many

        return predict_many(args)
    with collecting_nothing():
        from segdla.machine import distributed
        from segdla.media.inputs import find_inputs
        from segdla.media.outputs import is_output, latest
        from segdla.media.run import Tally, predict_files

    with distributed.process_group(patience=timedelta(days=30)):  # one process may have the long videos
        console.quiet = not distributed.is_main()
        usual = Path("predictions")
        own = as_path(args.output) if args.output else None
        folder = own or distributed.on_main(lambda: (args.skip_existing and latest(usual)) or unused(usual))
        lines = sys.stdin.buffer if "-" in args.inputs else ()
        inputs = distributed.on_main(lambda: find_inputs(args.inputs, lines, is_output))
        share = inputs[distributed.rank() :: distributed.world_size()]
        if args.smooth and not any(entry.is_video for entry in inputs):
            raise UserError("--smooth needs a video or a camera, and these are images; leave it out")
        trained, predict, begin_video, output = classes_of(args, folder, inputs) or masks_of(args, folder)
        labels = output.labels
        distributed.on_main(lambda: output.require_no_overwriting(inputs))
        if labels:
            distributed.on_main(lambda: labels.begin(inputs, args.skip_existing))
        is_new = distributed.on_main(lambda: output.begin(not (args.output or args.skip_existing), args.skip_existing))
        with growing_progress(len(share), "predicting") as tick:
            answer = partial(complain, args.prog)
            skip, sample_range = args.skip_existing, trained.config.sample_range
            tally = predict_files(share, predict, output, answer, tick, skip, sample_range, begin_video=begin_video)
        whole = sum(distributed.gathered(tally), Tally())
        if distributed.is_main():
            output.write_legend() if whole.done else output.abandon(is_new)
            if labels and (whole.done or whole.skipped):
                labels.finish(inputs, args.skip_existing)
        say(f"{whole}, in {folder}/")
    return whole.status


def masks_of(args: argparse.Namespace, folder: Path) -> "Opened":
    """Load a network for masks; return it, its functions and its outputs. Raises UserError if an option doesn't fit."""
    from segdla.media.outputs import Output
    from segdla.trained.segmenter import load

    window = tuple(args.window) if args.window else None
    options = {"multiscale": args.multiscale, "flip": args.flip, "window": window, "runs": args.runs}
    segmenter = load(args.checkpoint, args.device, **options)
    trained = segmenter.trained
    say(f"{trained.origin}: {len(segmenter.classes)} classes, {trained.device}, {trained.machine}")
    pictures, polygons = ([kind for kind in args.output_kind if kind in kinds] for kinds in (KINDS, POLYGONS))
    for kind in ("ids", *polygons) if "ids" in pictures else polygons:
        trained.classes.require_exclusive(f"--output-kind {kind}")
    labels = label_outputs(args, folder, polygons, segmenter) if polygons else None
    classes = segmenter.classes, segmenter.palette
    output = Output(folder, pictures, *classes, not args.no_legend, labels, trained.classes.overlapping)
    return trained, segmenter.predict, segmenter.smoothed if args.smooth else None, output


def classes_of(args: argparse.Namespace, folder: Path, inputs: Sequence["Input"]) -> "Opened | None":
    """Return like ``masks_of`` a network that labels whole images; None if it labels pixels."""
    from segdla.trained.open import labels_whole_images

    if not labels_whole_images(args.checkpoint, args.runs, for_photographs=True):
        return None
    from segdla.media.class_outputs import CLASS_KINDS, ClassOutput
    from segdla.trained.classifier import load_classifier

    require_no_masks(args, "no_legend", "smooth")
    if args.output_kind is not USUAL:
        raise UserError(f"--output-kind is for masks; networks for whole images give {' and '.join(CLASS_KINDS)}")
    classifier = load_classifier(args.checkpoint, args.device, runs=args.runs, for_photographs=True)
    trained = classifier.trained
    say(f"{trained.origin}: {len(classifier.classes)} classes, {trained.device}, {trained.machine}")
    tells = len(inputs) <= _MOST_TOLD
    output = ClassOutput(folder, CLASS_KINDS, classifier.classes, trained.classes.palette, False, tells=tells)
    return trained, classifier.best, None, output


def require_fit(args: argparse.Namespace) -> None:
    """Raise UserError if an option needs another one, or excludes it."""
    if args.manifest and not args.output:
        raise UserError("--manifest needs --output: its workers write into one folder")
    if args.manifest and args.skip_existing:
        raise UserError("--manifest knows what is done; leave --skip-existing out")
    if args.retry_failed and not args.manifest:
        raise UserError("--retry-failed needs --manifest, which lists what failed")
    if args.price is not None and not args.dry_run:
        raise UserError("--price needs --dry-run, which tells the cost")


def label_outputs(
    args: argparse.Namespace, folder: Path, polygons: Sequence[str], segmenter: "Segmenter"
) -> "LabelOutputs":
    """Return the writer of polygons, whose import takes a while."""
    from segdla.media.label_outputs import LabelOutputs, predicted_style

    style = predicted_style(segmenter.classes, segmenter.palette, args.tolerance, args.min_pixels, args.background)
    return LabelOutputs(folder, polygons, style)
