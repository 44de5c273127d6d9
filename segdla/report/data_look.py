"""The data set behind an evaluation, as the doctor and the network see it: its splits, faults and doubtful labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import cv2
import numpy as np
from markupsafe import Markup

from segdla.data.source import Source
from segdla.doctor.check import SplitSummary, examine_splits
from segdla.doctor.finding import IS_SERIOUS
from segdla.doctor.label_errors import SuspectRegion
from segdla.doctor.label_ranking import LabelErrors
from segdla.errors import UserError
from segdla.machine.terminal import progress
from segdla.report.pictures import webp
from segdla.trained.check_labels import check_labels
from segdla.trained.score import Evaluation

_IMAGES, _CROPS = 12, 4  # images with doubtful labels, and regions of each
_MESSAGES = 20  # of a kind of finding
_HIGH = 150  # pixels of a crop
_AROUND = 0.3  # of an image's shorter side: the least that a crop shows
_LIGHT, _DARK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True)
class Crop:
    """A part of an image with an outlined region; its picture is a data URI."""

    picture: Markup  # which is longer than texts may be
    given: str  # name of the class that it is labelled as
    suggested: str  # and of the one that it looks like
    confidence: float


@dataclass(frozen=True)
class Doubtful:
    """An image whose labels the network doubts, and its regions of highest scores."""

    name: str
    agreement: float  # share of labelled pixels
    faults: list[str]
    crops: list[Crop]


@dataclass(frozen=True)
class Fault:
    """The findings of one kind; of many messages the first."""

    kind: str
    serious: bool
    number: int
    messages: list[str]


@dataclass(frozen=True)
class DataLook:
    """A data set as a page shows it."""

    splits: Mapping[str, SplitSummary]
    faults: list[Fault]
    doubtful: list[Doubtful]

    @property
    def copies(self) -> list[Fault]:
        """The faults that are images in two splits."""
        return [fault for fault in self.faults if fault.kind.endswith("across splits")]


def look_at_data(evaluation: Evaluation, splits: Mapping[str, Source | UserError]) -> DataLook:
    """Read every image and mask of splits, and let the network look for label errors in the evaluation's own."""
    report = examine_splits(splits, partial(progress, description="reading"))
    errors = check_labels({evaluation.split: evaluation.source}, evaluation.trained)
    faults = []
    for kind, group in groupby(report.with_label_errors(errors).findings, key=lambda finding: finding.kind):
        messages = [f"{finding.split}: {finding.message}" for finding in group]
        faults.append(Fault(kind, IS_SERIOUS[kind], len(messages), messages[:_MESSAGES]))
    return DataLook(report.splits, faults, doubtful_images(errors, evaluation.source))


def doubtful_images(errors: LabelErrors, source: Source) -> list[Doubtful]:
    """Return the images that rank first, those without a region or fault left out."""
    names = errors.classes.names
    images = []
    for one in errors.ranked[:_IMAGES]:
        regions, faults = errors.regions_of(one)[:_CROPS], [words for _, words in errors.faults_of(one)]
        if not regions and not faults:
            continue
        image, _ = source.read(one.index)
        crops = [
            Crop(Markup(webp(crop(image, region))), names[region.given], names[region.suggested], region.confidence)
            for region in regions
        ]
        images.append(Doubtful(one.name, one.agreement, faults, crops))
    return images


def crop(image: np.ndarray, region: SuspectRegion) -> np.ndarray:
    """Return the surroundings of a region in an image (H,W,3), with its outline, light on dark, to be seen anywhere."""
    left, top, wide, high = region.box
    side = max(wide, high, round(_AROUND * min(image.shape[:2])))
    rows, columns = (
        slice(max(0, start + length // 2 - side), start + length // 2 + side)
        for start, length in ((top, high), (left, wide))
    )
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[top : top + high, left : left + wide] = region.mask
    scale = _HIGH / (min(image.shape[0], rows.stop) - rows.start)
    picture, inner = (cv2.resize(part[rows, columns], None, fx=scale, fy=scale) for part in (image, mask))
    outlines, _ = cv2.findContours(inner, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for color, width in ((_DARK, 3), (_LIGHT, 1)):
        cv2.drawContours(picture, outlines, -1, color, width)
    return picture
