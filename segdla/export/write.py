"""An export, from the network to a file that has been checked: write, verify, score, put in place."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from segdla.checkpoints.checkpoint import Card
from segdla.errors import UserError
from segdla.export.formats import FORMATS, open_file, write_file
from segdla.export.verify import SIZES, Difference, differences, int8_arithmetic, pictures
from segdla.inference.head import SOFTMAX, Head
from segdla.inference.predictors import LogitsOf
from segdla.machine.files import put_in_place
from segdla.models.dlaseg import DLASeg

MOST_LOST = 0.1
"""Points of mIoU, or of top-1, that a float32 file may lose: near ties on a few images."""


class Scorer(NamedTuple):
    """A function from logits at a stride to a score, such as the mIoU, on ``num_images`` labelled images."""

    score: Callable[[LogitsOf, int], float]
    num_images: int
    measure: str = "mIoU"


@dataclass(frozen=True)
class Export:
    """An exported file: its path, its size in bytes, and how far it is from the network.

    ``scores`` are the network's and the file's on ``num_images`` images, in 0..1: mIoU, or top-1 if the network labels
    whole images; None if there was nothing to score them on. ``arithmetic`` is that of the processor on which an int8
    file was scored.
    """

    path: Path
    size: int
    differences: list[Difference]
    scores: tuple[float, float] | None = None
    num_images: int = 0
    arithmetic: str = ""


def export(
    network: DLASeg,
    card: Card,
    path: Path,
    kind: str,
    *,
    calibration: Iterable[np.ndarray] | None = None,
    max_drop: float = MOST_LOST,
    scorer: Scorer | None = None,
    head: Head = SOFTMAX,
    size: tuple[int, int] | None = None,
) -> Export:
    """Write a network, on the CPU, to ``path``, and keep the file only if it computes what the network does.

    With ``calibration``, RGB images (H,W,3) uint8, convolutions are in int8 and may cost ``max_drop`` points of the
    ``scorer``'s measure. ``size`` is the (height, width) of images, if the file is for one size.

    Raises UserError if the file exists, can't be written, or computes something else.
    """
    require_unused(path, kind)
    is_int8 = calibration is not None
    with unchecked(path) as folder:
        draft = folder / path.name
        arithmetic = int8_arithmetic() if is_int8 and scorer is not None else ""
        write_file(network, card, draft, kind, calibration, arithmetic, head, size)
        exported = open_file(draft, torch.device("cpu"))
        sizes = SIZES if size is None else (size,) * (len(SIZES) if card.classes.whole_images else 2)
        compared = differences(network, exported, pictures(sizes), head)
        large = [str(difference) for difference in compared if not difference.is_small]
        if large and not is_int8:
            answer = f"the {kind} file computes something else than the network: {'; '.join(large)}"
            raise UserError(f"{answer}: it is not kept")
        scores = None
        if scorer is not None:
            own = scorer.score(network.logits, network.output_stride)
            scores = own, scorer.score(exported.logits_of, exported.stride)
            require_accurate(kind, scores, scorer.measure, max_drop, compared)
        files = list(folder.iterdir())  # OpenVINO's are two
        num_bytes = sum(file.stat().st_size for file in files)
        require_unused(path, kind)  # minutes later
        for file in files:
            put_in_place(file, path.with_name(file.name))
    return Export(path, num_bytes, compared, scores, scorer.num_images if scorer is not None else 0, arithmetic)


def require_accurate(
    kind: str, scores: tuple[float, float], measure: str, max_drop: float, compared: list[Difference]
) -> None:
    """Raise UserError if a file's score, the second, is too far below the network's, the first."""
    own, exported = (100 * score for score in scores)
    if not own - exported <= max_drop:
        raise UserError(
            f"the {kind} file loses {own - exported:.2f} points of {measure} ({own:.2f} % to {exported:.2f} %; "
            f"{max(compared, key=lambda difference: difference.logits)}): it is not kept"
        )


def require_unused(path: Path, kind: str) -> None:
    """Raise UserError if a file would be overwritten, or has another format's suffix."""
    if path.suffix != FORMATS[kind].SUFFIX:
        raise UserError(f"{path} must end in {FORMATS[kind].SUFFIX}, as files of the format {kind} do")
    for taken in map(path.with_suffix, FORMATS[kind].WRITES):
        if taken.exists():
            raise UserError(f"{taken} exists; name another file (--output)")


@contextmanager
def unchecked(path: Path) -> Iterator[Path]:
    """Yield a temporary folder on the disk that ``path`` will be on. Raises UserError if it can't be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="unchecked-") as folder:
            yield Path(folder)
    except OSError as error:
        if error.strerror is None:
            raise
        remedy = "name another file (--output), or make room"
        raise UserError(f"cannot write {path}: {error.strerror}; {remedy}") from error
