"""``segdla serve``: try a trained network in a browser, and use it from programs over HTTP."""

import argparse

from segdla.commands.arguments import Parser, positive
from segdla.errors import UserError, quoted
from segdla.machine.terminal import say

DESCRIPTION = """Serve a trained network on this machine: a page that shows the masks of images, videos and the camera,
and HTTP endpoints for programs, described by /openapi.json. Ctrl-C ends it."""


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "checkpoint",
        nargs="?",
        metavar="RUN|CHECKPOINT",
        help="network to use, also hf://OWNER/NAME or an exported file (default: as of segdla predict)",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets other machines in (default: 127.0.0.1)"
    )
    parser.add_argument("--port", type=port, default=8000, help="port to listen on; 0 for any (default: 8000)")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="HOST",
        help="name by which browsers may reach it, besides addresses and localhost; may be repeated",
    )
    parser.add_argument(
        "--max-upload", type=positive, default=200, metavar="MB", help="most megabytes of a file (default: 200)"
    )
    parser.add_argument(
        "--max-pixels", type=positive, default=50, metavar="MP", help="most megapixels of an image (default: 50)"
    )
    parser.add_argument(
        "--max-frames", type=positive, default=3000, metavar="N", help="most frames of a video (default: 3000)"
    )
    parser.add_argument(
        "--waiting", type=positive, default=8, metavar="N", help="most requests that wait in the queue (default: 8)"
    )
    parser.add_prediction()
    parser.add_runs()
    parser.add_device()


def port(word: str) -> int:
    """Parse a port."""
    if not word.isdecimal() or int(word) > 65535:
        raise argparse.ArgumentTypeError(f"{quoted(word)} is not a port, 0 to 65535")
    return int(word)


def main(args: argparse.Namespace) -> int:
    try:
        from segdla.trained.serve.limits import Limits
        from segdla.trained.serve.listen import bind, serve
    except ModuleNotFoundError as error:
        raise UserError(f'the package {error.name} is not installed; pip install "segdla[serve]"') from error
    from segdla.machine.openmp import computing_alone
    from segdla.trained.segmenter import load

    with bind(args.host, args.port) as listening:  # first, since loading takes seconds
        window = tuple(args.window) if args.window else None
        with computing_alone():  # the processor is for the thread that answers
            segmenter = load(
                args.checkpoint, args.device, multiscale=args.multiscale, flip=args.flip, window=window, runs=args.runs
            )
        trained = segmenter.trained
        say(f"{trained.origin}: {len(segmenter.classes)} classes, {trained.device}, {trained.machine}")
        limits = Limits(args.max_upload * 10**6, args.max_pixels * 10**6, args.max_frames, args.waiting)
        serve(segmenter, listening, limits, {args.host, *args.name})
    return 0
