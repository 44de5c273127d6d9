"""The doctor's look at images that are labelled as a whole: every file is read, and classes are counted."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from segdla.data.source import Source
from segdla.doctor.check import CONSTANT, Report, SplitSummary, examine_splits, in_order
from segdla.doctor.finding import Finding
from segdla.errors import UserError
from segdla.machine.threads import Progress, in_threads

_NONE = np.zeros((2, 3))


class _Look(NamedTuple):
    """The facts of an image, or the finding if it can't be read."""

    key: tuple[str, int]  # split, index
    finding: Finding | None = None
    size: str = ""
    label: int = -1
    moments: np.ndarray | None = None  # (2,3) mean, and mean of the squares, of 255
    digest: bytes = b""


def examine(splits: Mapping[str, Source | UserError], progress: Progress = iter) -> Report:
    """Read all splits, in threads; each is a source, of masks or of whole images, or the error that opening it raised.

    ``progress`` wraps the futures that are waited for, one an image. Never raises for what is in the files.
    """
    sources = {split: source for split, source in splits.items() if not isinstance(source, UserError)}
    if not any(source.classes.whole_images for source in sources.values()):
        return examine_splits(splits, progress)
    findings = [Finding("unusable split", k, str(v)) for k, v in splits.items() if isinstance(v, UserError)]
    keys = [(split, index) for split, source in sources.items() for index in range(len(source))]
    with in_threads(lambda key: _look(sources[key[0]], key), keys) as futures:
        looks: list[_Look] = [future.result() for future in progress(futures)]
    found = [*findings, *(look.finding for look in looks if look.finding), *_duplicates(sources, looks)]
    of_split: dict[str, list[_Look]] = {split: [] for split in sources}
    for look in looks:
        of_split[look.key[0]].append(look)
    return Report(in_order(found), {split: _summary(sources[split], of_split[split]) for split in sources}, sources)


def _look(source: Source, key: tuple[str, int]) -> _Look:
    split, index = key
    try:
        image, target = source.read(index)
    except UserError as error:
        return _Look(key, Finding("unreadable image", split, str(error)))
    mean, std = (np.ravel(moments) for moments in cv2.meanStdDev(image))
    finding = None
    if std.max() < CONSTANT:
        name, color = source.files(index)[0], mean.round().astype(int).tolist()
        finding = Finding("nearly constant image", split, f"{name}: all of its pixels are about {color}")
    digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
    size = f"{image.shape[0]} x {image.shape[1]}"
    return _Look(key, finding, size, max(0, int(target[0, 0])), np.stack([mean, std**2 + mean**2]), digest)


def _duplicates(sources: Mapping[str, Source], looks: Sequence[_Look]) -> list[Finding]:
    """Return a finding for each group of images that are the same, pixel for pixel."""
    groups: dict[tuple[bytes, str], list[_Look]] = defaultdict(list)
    for look in looks:
        if look.digest:
            groups[look.digest, look.size].append(look)
    findings = []
    for group in groups.values():
        if len(group) > 1:
            kind = "duplicates"
            if len({look.key[0] for look in group}) > 1:
                kind = "duplicate across splits"
            elif len({look.label for look in group}) > 1:
                kind = "duplicates of different classes"
            names = ", ".join(str(sources[split].files(index)[0]) for split, index in (look.key for look in group))
            findings.append(Finding(kind, group[-1].key[0], f"{len(group)} times the same image: {names}"))
    return findings


def _summary(source: Source, looks: Sequence[_Look]) -> SplitSummary:
    """Sum up a split; its numbers of pixels are of images, each of which counts the same."""
    names, read = source.classes.names, [look for look in looks if look.moments is not None]
    mean, square = np.mean(np.stack([look.moments for look in read if look.moments is not None]), 0) if read else _NONE
    counts = Counter(look.label for look in read)
    images = {name: counts[label] for label, name in enumerate(names)}
    return SplitSummary(
        images=len(looks),
        sizes=dict(Counter(look.size for look in read).most_common()),
        mean=(mean / 255).round(4).tolist(),
        std=(np.sqrt(np.maximum(square - mean**2, 0)) / 255).round(4).tolist(),
        labelled=1.0,
        pixels=images,
        shares={name: number / max(1, len(read)) for name, number in images.items()},
        images_with=images,
        median_frequency_weights=[],
        enet_weights=[],
    )
