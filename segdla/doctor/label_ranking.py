"""A data set's label errors, ranked: the images and regions to look at first, as findings and in files."""

import csv
import heapq
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segdla.data.image_writer import write_image
from segdla.data.source import Classes
from segdla.doctor.finding import Finding
from segdla.doctor.label_errors import SuspectRegion, Suspects, image_score
from segdla.doctor.misplaced_labels import Shift, Turn, agreement, find_exchanged, find_shift, find_turn
from segdla.machine.files import write_json, write_whole

MOST_REGIONS = 2000
"""Regions that are kept, those of the highest scores, so that memory does not grow with the number of images."""
_COLUMNS = (
    *("rank", "split", "image", "image_file", "mask_file", "left", "top", "width", "height"),
    *("labelled_as", "looks_like", "pixels", "confidence", "label_confidence", "score"),
)


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """An image whose labels were checked; ``agreement`` is the share of labelled pixels that the network sees so."""

    split: str
    index: int  # in the split
    name: str
    files: tuple[str, ...]  # of the image and, if there is one, of its mask
    size: tuple[int, int]  # (height, width)
    score: float
    agreement: float
    shift: Shift | None = None
    turn: Turn | None = None
    exchanged: tuple[tuple[int, int], ...] = ()

    @property
    def place(self) -> str:
        """The mask's file or, if it has none, the image's name."""
        return self.files[-1] if self.files else self.name


@dataclass
class LabelErrors:
    """The label errors that a network suspects: images and regions, those of the highest scores first.

    ``images`` are all that were checked; ``regions`` are the ``most`` that score highest, each with its image.
    ``sheet`` is a picture (H,W,3) of the images that rank first.
    """

    classes: Classes
    most: int = MOST_REGIONS
    images: list[CheckedImage] = field(default_factory=list)
    sheet: np.ndarray | None = field(default=None, repr=False)
    _regions: list[tuple[float, int, int, SuspectRegion]] = field(
        default_factory=list
    )  # a heap; ties go to the first seen

    def add(self, image: CheckedImage, regions: list[SuspectRegion]) -> None:
        """Take in an image and its regions."""
        place = len(self.images)
        self.images.append(image)
        for number, region in enumerate(regions[: self.most]):
            entry = (region.score, -place, -number, region)
            (heapq.heappush if len(self._regions) < self.most else heapq.heappushpop)(self._regions, entry)

    @property
    def ranked(self) -> list[CheckedImage]:
        """The images, those of the highest scores first."""
        return sorted(self.images, key=lambda image: -image.score)

    @property
    def regions(self) -> list[tuple[CheckedImage, SuspectRegion]]:
        """The regions with their images, those of the highest scores first."""
        return [(self.images[-place], region) for _, place, _, region in sorted(self._regions, reverse=True)]

    def regions_of(self, image: CheckedImage) -> list[SuspectRegion]:
        """Return the regions of one image that were kept."""
        return [region for other, region in self.regions if other is image]

    def findings(self) -> list[Finding]:
        """Return what is wrong with the labels of whole images."""
        return [
            Finding(kind, image.split, f"{image.place}: {words}")
            for image in self.ranked
            for kind, words in self.faults_of(image)
        ]

    def faults_of(self, image: CheckedImage) -> list[tuple[str, str]]:
        """Return what is wrong with the labels of an image as a whole: kinds of findings, and words."""
        names = self.classes.names
        faults = [("labels shifted", shift_words(image.shift))] if image.shift is not None else []
        if image.turn is not None:
            name, *shares = image.turn
            faults.append(("labels mirrored", f"its labels are {name}; {_better(*shares)}"))
        for one, other in image.exchanged:
            faults.append(("classes exchanged", f"{names[one]} and {names[other]} seem to have changed places"))
        return faults

    def as_dict(self) -> dict[str, Any]:
        """Return the ranked images and regions, for JSON."""
        names = self.classes.names
        images = [
            {
                "rank": rank,
                "split": image.split,
                "image": image.name,
                "files": list(image.files),
                "score": image.score,
                "agreement": image.agreement,
                "shift": image.shift._asdict() if image.shift else None,
                "turn": image.turn._asdict() if image.turn else None,
                "exchanged": [[names[one], names[other]] for one, other in image.exchanged],
            }
            for rank, image in enumerate(self.ranked, 1)
        ]
        return {"images": images, "regions": list(self._rows())}

    def write(self, folder: Path) -> None:
        """Write label_errors.json, label_errors.csv for a spreadsheet, and label_errors.png to look at.

        Raises UserError if one of them can't be written.
        """
        write_json(folder / "label_errors.json", self.as_dict())
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in self._rows():
            writer.writerow({key: f"{value:.4f}" if isinstance(value, float) else value for key, value in row.items()})
        write_whole(folder / "label_errors.csv", text.getvalue().encode(errors="surrogateescape"))
        if self.sheet is not None:
            write_image(folder / "label_errors.png", self.sheet)

    def _rows(self) -> Iterator[dict[str, Any]]:
        names = self.classes.names
        for rank, (image, region) in enumerate(self.regions, 1):
            files = (*image.files, "", "")[:2]
            classes = names[region.given], names[region.suggested]
            shares = region.confidence, region.doubt, region.score
            values = (rank, image.split, image.name, *files, *region.box, *classes, region.pixels, *shares)
            yield dict(zip(_COLUMNS, values, strict=True))


def judge_image(
    split: str,
    index: int,
    name: str,
    files: tuple[str, ...],
    target: np.ndarray,
    class_ids: np.ndarray,
    suspects: Suspects,
    regions: list[SuspectRegion],
    num_classes: int,
) -> CheckedImage:
    """Return how an image's labels (H,W) fare against the classes (H,W) and the regions that a network sees."""
    suggested = np.where(suspects.where, suspects.class_ids, np.uint8(255))
    return CheckedImage(
        split,
        index,
        name,
        files,
        (target.shape[0], target.shape[1]),
        image_score(regions),
        agreement(target, class_ids, num_classes),
        find_shift(target, class_ids, num_classes),
        find_turn(target, class_ids, num_classes),
        tuple(find_exchanged(target, suggested, num_classes)),
    )


def shift_words(shift: Shift) -> str:
    """Return in words how far labels lie from where they belong."""
    to_the_side, up_or_down = "right" if shift.right > 0 else "left", "low" if shift.down > 0 else "high"
    ways = [f"{_pixels(shift.right)} to the {to_the_side}"] if shift.right else []
    ways += [f"{_pixels(shift.down)} too {up_or_down}"] if shift.down else []
    return f"its labels lie {' and '.join(ways)}; {_better(shift.before, shift.after)}"


def _pixels(distance: int) -> str:
    return f"{abs(distance)} pixel{'s' if abs(distance) > 1 else ''}"


def _better(before: float, after: float) -> str:
    return f"undone, {100 * after:.0f} % of them agree with the network, as they are {100 * before:.0f} %"
