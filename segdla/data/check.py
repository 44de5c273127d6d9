"""The data doctor: reads every pair of a data set and says what is wrong with it, and what it is made of."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np

from segdla.data.dataset import IGNORE_INDEX, Classes, PairSource, Source, is_labelled, require_one_size
from segdla.data.duplicates import fingerprint, near_groups, nearest_before
from segdla.data.images import read_image, read_mask
from segdla.data.shares import enet_weights, median_frequency_weights
from segdla.errors import UserError

Progress = Callable[[Collection[Future]], Iterable[Future]]

# What can be found, and whether it would stop training, spoil it, or make its scores worthless.
SERIOUS = {
    "unusable split": True,
    "image without mask": True,
    "mask without image": False,
    "unreadable image": True,
    "unreadable mask": True,
    "sizes differ": True,
    "unknown labels": True,
    "unlabelled": False,
    "nearly constant image": False,
    "duplicates": False,
    "duplicates with different masks": True,
    "duplicate across splits": True,
    "near duplicates": False,
    "near duplicate across splits": True,
    "class never occurs": True,
    "class missing from split": False,
}
_CONSTANT = 2.0  # standard deviation of the samples, of 255


@dataclass(frozen=True)
class Finding:
    kind: str
    split: str
    message: str  # names the file

    @property
    def serious(self) -> bool:
        return SERIOUS[self.kind]


@dataclass
class _Look:
    """What one pair gave; ``size`` and what follows is that of pairs that could be read."""

    name: str
    findings: list[tuple[str, str]] = field(default_factory=list)  # kind, message
    size: tuple[int, int] | None = None
    mean: np.ndarray = field(default_factory=lambda: np.zeros(3))
    square: np.ndarray = field(default_factory=lambda: np.zeros(3))  # mean of the squares
    fingerprint: np.ndarray | None = None
    digests: tuple[bytes, bytes] | None = None  # of image and target
    counts: np.ndarray | None = None  # pixels by train id (256,)


@dataclass(frozen=True)
class Split:
    """What a split is made of. Shares are of the labelled pixels; weights are 0 for a class without pixels."""

    images: int
    sizes: dict[str, int]  # "height x width" to images
    mean: list[float]  # RGB, of images scaled to 0..1
    std: list[float]
    labelled: float  # share of all pixels
    pixels: dict[str, int]
    shares: dict[str, float]
    images_with: dict[str, int]
    median_frequency_weights: list[float]
    enet_weights: list[float]


@dataclass(frozen=True)
class Report:
    findings: list[Finding]
    splits: dict[str, Split]

    @property
    def serious(self) -> bool:
        return any(finding.serious for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        findings = [{**asdict(finding), "serious": finding.serious} for finding in self.findings]
        return {"serious": self.serious, "findings": findings, "splits": {k: asdict(v) for k, v in self.splits.items()}}


def check(sources: Mapping[str, Source | UserError], progress: Progress = iter) -> Report:
    """Read all of the splits, a source or what kept it from being one each, in threads.

    ``progress`` wraps what is waited for, one item a pair. Never raises for what is in the files.
    """
    usable = {split: source for split, source in sources.items() if not isinstance(source, UserError)}
    findings = [Finding("unusable split", k, str(v)) for k, v in sources.items() if isinstance(v, UserError)]
    for split, source in usable.items():
        findings += [Finding("image without mask", split, problem) for problem in getattr(source, "problems", ())]
        for path in getattr(source, "unused", ()):
            findings.append(Finding("mask without image", split, f"no image for the mask {path}"))
    places = [(split, index) for split, source in usable.items() for index in range(len(source))]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        futures = [pool.submit(_look, usable[split], index) for split, index in places]
        seen = [future.result() for future in progress(futures)]
    finally:
        pool.shutdown(cancel_futures=True)
    looks: dict[str, list[_Look]] = {split: [] for split in usable}
    for (split, _), look in zip(places, seen, strict=True):
        looks[split].append(look)
        findings += [Finding(kind, split, message) for kind, message in look.findings]
    findings += _duplicates(looks)
    splits = {split: _sum_up(looks[split], usable[split].classes) for split in usable if looks[split]}
    for split, made_of in splits.items():
        if not is_labelled(usable[split]):
            continue
        kind = "class never occurs" if split == "train" else "class missing from split"
        missing = [name for name, number in made_of.pixels.items() if made_of.sizes and not number]
        findings += [Finding(kind, split, f"{split} has no pixel of {name}") for name in missing]
    return Report(sorted(findings, key=lambda finding: list(SERIOUS).index(finding.kind)), splits)


def _look(source: Source, index: int) -> _Look:
    look = _Look(str(source.pairs[index][0]) if isinstance(source, PairSource) else source.name(index))
    step = "unreadable image"
    try:
        if isinstance(source, PairSource) and is_labelled(source):
            image_path, mask_path = source.pairs[index]
            image = read_image(image_path)
            step = "unreadable mask"
            mask = read_mask(mask_path)
            step = "sizes differ"
            require_one_size(image_path, image.shape[:2], mask_path, mask.shape[:2])
            step = "unknown labels"
            target = source.encode(mask, mask_path)
        else:
            image, target = source.read(index)
    except UserError as error:
        look.findings.append((step, str(error)))
        return look
    except Exception as error:  # a doctor must live through every disease
        look.findings.append((step, f"{look.name}: {type(error).__name__}: {error}"))
        return look
    mean, std = (np.ravel(values) for values in cv2.meanStdDev(image))
    look.size, look.mean, look.square = image.shape[:2], mean, std**2 + mean**2
    look.fingerprint = fingerprint(image)
    look.digests = tuple(hashlib.blake2b(a.tobytes() + bytes(str(a.shape), "ascii")).digest() for a in (image, target))
    look.counts = np.bincount(target.ravel(), minlength=256)
    if std.max() < _CONSTANT:
        color = mean.round().astype(int).tolist()
        look.findings.append(("nearly constant image", f"{look.name}: all of its pixels are about {color}"))
    if look.counts[IGNORE_INDEX] == target.size and is_labelled(source):
        look.findings.append(("unlabelled", f"{look.name}: every pixel of its mask is ignored"))
    return look


def _duplicates(looks: Mapping[str, Sequence[_Look]]) -> list[Finding]:
    splits = list(looks)
    read = [(splits.index(split), look) for split in splits for look in looks[split] if look.digests is not None]
    findings = []
    same = defaultdict(list)
    for place, (_, look) in enumerate(read):
        same[look.digests[0]].append(place)
    for alike in ([read[place] for place in places] for places in same.values() if len(places) > 1):
        parts = {part for part, _ in alike}
        kind = "duplicate across splits" if len(parts) > 1 else "duplicates"
        if len(parts) == 1 and len({look.digests[1] for _, look in alike}) > 1:
            kind = "duplicates with different masks"
        names = ", ".join(f"{look.name} ({splits[part]})" for part, look in alike)
        findings.append(Finding(kind, splits[max(parts)], f"{len(alike)} times the same image: {names}"))
    # What is the same has been told; what is constant is like nothing.
    read = [read[places[0]] for places in same.values() if read[places[0]][1].fingerprint.any()]
    if not read:
        return findings
    prints, part = np.stack([look.fingerprint for _, look in read]), np.array([part for part, _ in read])
    for index, nearest, similarity in nearest_before(prints, part):
        message = (
            f"{read[index][1].name} ({splits[part[index]]}) is nearly {read[nearest][1].name} "
            f"({splits[part[nearest]]}), similarity {similarity:.2f}"
        )
        findings.append(Finding("near duplicate across splits", splits[part[index]], message))
    groups = []
    for number, split in enumerate(splits):
        inside = np.flatnonzero(part == number)
        groups += [(split, [read[inside[i]][1].name for i in group]) for group in near_groups(prints[inside])]
    for split, names in sorted(groups, key=lambda group: -len(group[1])):
        named = f"{names[0]} {'and' if len(names) == 2 else 'to'} {names[-1]}"
        message = f"{len(names)} of {len(looks[split])} images are nearly the same: {named}"
        findings.append(Finding("near duplicates", split, message))
    return findings


def _sum_up(looks: Sequence[_Look], classes: Classes) -> Split:
    read = [look for look in looks if look.size is not None]
    areas = np.array([look.size[0] * look.size[1] for look in read], float)[:, None]
    total = max(1.0, areas.sum())
    mean = (areas * [look.mean for look in read]).sum(0) / total if read else np.zeros(3)
    square = (areas * [look.square for look in read]).sum(0) / total if read else np.zeros(3)
    counts = np.array([look.counts for look in read], np.int64).reshape(-1, 256)
    labelled = counts[:, : len(classes)]
    pixels = labelled.sum(0)
    present = (counts.sum(1)[:, None] * (labelled > 0)).sum(0)
    sizes = Counter(f"{look.size[0]} x {look.size[1]}" for look in read)
    return Split(
        images=len(looks),
        sizes=dict(sizes.most_common()),
        mean=(mean / 255).round(4).tolist(),
        std=(np.sqrt(np.maximum(square - mean**2, 0)) / 255).round(4).tolist(),
        labelled=float(pixels.sum() / total),
        pixels=dict(zip(classes.names, pixels.tolist(), strict=True)),
        shares=dict(zip(classes.names, (pixels / max(1, pixels.sum())).tolist(), strict=True)),
        images_with=dict(zip(classes.names, (labelled > 0).sum(0).tolist(), strict=True)),
        median_frequency_weights=[float(f"{weight:.4g}") for weight in median_frequency_weights(pixels, present)],
        enet_weights=[float(f"{weight:.4g}") for weight in enet_weights(pixels)],
    )
