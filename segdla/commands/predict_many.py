"""``segdla predict --manifest`` and ``--dry-run``: as one of any number of workers, or as a look ahead."""

import argparse
import os
import sys
from functools import partial
from itertools import islice

from segdla.errors import UserError
from segdla.machine.remote.remote_path import as_path
from segdla.machine.terminal import complain, console, growing_progress, rough_duration, say
from segdla.media.jobs.job import Job
from segdla.trained.file_job import FileJob
from segdla.trained.open import labels_whole_images
from segdla.trained.segmenter import load

_MOST = 20  # failures that are listed


def predict_many(args: argparse.Namespace) -> int:
    """Be a worker, or estimate; return the exit status: 1 if an input failed, 2 if all did."""
    console.quiet = os.environ.get("RANK", "0") != "0"  # of torchrun; processes started by hand each speak
    if labels_whole_images(args.checkpoint, args.runs, for_photographs=True):
        raise UserError("--manifest and --dry-run are for masks; name a network that labels pixels")
    window = tuple(args.window) if args.window else None
    segmenter = load(
        args.checkpoint, args.device, multiscale=args.multiscale, flip=args.flip, window=window, runs=args.runs
    )
    trained = segmenter.trained
    say(f"{trained.origin}: {len(segmenter.classes)} classes, {trained.device}, {trained.machine}")
    for kind in {"ids"} & {*args.output_kind}:
        trained.classes.require_exclusive(f"--output-kind {kind}")
    job = FileJob(
        args.inputs,
        as_path(args.output or "predictions"),
        args.manifest or "",
        segmenter,
        args.output_kind,
        not args.no_legend,
        args.retry_failed,
        sys.stdin.buffer if "-" in args.inputs else (),
        partial(complain, args.prog),
        smooth=args.smooth,
    )
    return look_ahead(job, args.price) if args.dry_run else work(job)


def work(files: FileJob) -> int:
    """Be a worker until nothing is left; return the exit status."""
    with files.worker() as job:
        if files.smooth and not job.plan.videos:
            say("--smooth changes nothing: there is no video among the inputs")
        before = job.progress()
        if before.finished:
            say(f"{files.manifest}: {before.finished} of {before.total} were there already, {before.failed} failed")
        with growing_progress(before.total - before.finished, "predicting") as tick:
            tally = job.work(files.predicted(tick), Waiting())
        after = job.progress()
        say(f"{tally.done + tally.failed} of {after.total} done by this worker, in {files.output}/")
        return summary(files, job)


class Waiting:
    """Says once that others are still at work."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, units: int) -> None:
        if not self._said:
            say(f"waiting for {units} units of work of other workers; if one of them dies, its work is done here")
        self._said = True


def summary(files: FileJob, job: Job) -> int:
    """Print how far the job is, and what failed; return the exit status."""
    now = job.progress()
    for failure in islice(job.failures(), _MOST):
        say(f"failed: {failure['error']}")
    if now.failed:
        say(f"{now.failed} of {now.total} failed; mend them and run it with --retry-failed")
    say(f"{files.manifest}: {now.finished - now.failed} of {now.total} segmented, each recorded once")
    return 0 if not now.failed else 1 if now.failed < now.total else 2


def look_ahead(files: FileJob, price: float | None) -> int:
    """Print the number of inputs, the time they take and the cost; return the exit status."""
    job = files.seen() if files.manifest else None
    left = None
    if job is not None:
        summary(files, job)
        now = job.progress()
        left = now.total - now.finished
    guess = files.estimated()
    if guess.failed == guess.sampled:
        raise UserError("no image of the sample can be predicted, so there is no estimate; the lines above say why")
    images = guess.images if left is None else min(left, guess.images)
    seconds = images * guess.seconds_each
    say(
        f"{images} images {'' if left is None else 'left, '}at {1000 * guess.seconds_each:.1f} ms each (mean of a "
        f"sample of {guess.sampled}): about {rough_duration(seconds)} by one worker like this one"
    )
    if guess.failed:
        say(f"{guess.failed} of the sample failed, and so may as large a part of all")
    if guess.videos:
        say(f"{guess.videos} videos are not in the estimate")
    if price is not None:
        say(f"at {price:g} an hour: about {seconds / 3600 * price:.2f}, however many workers share it")
    return 0
