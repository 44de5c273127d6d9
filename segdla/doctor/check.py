"""The data doctor: reads every pair of a data set, says what is wrong with it, and sums up each split."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from segdla.data.class_weights import enet_weights, median_frequency_weights
from segdla.data.files_ahead import reading_ahead
from segdla.data.labels import IGNORE_INDEX
from segdla.data.source import Classes, SizesDifferError, Source, UnknownLabelsError, UnreadableMaskError
from segdla.doctor.copies import Pair, duplicates
from segdla.doctor.file_facts import FileFacts, judge_files, look_at_files
from segdla.doctor.finding import IS_SERIOUS, Finding
from segdla.doctor.image_facts import look_at_image
from segdla.doctor.label_ranking import LabelErrors
from segdla.errors import UserError
from segdla.machine.remote.storage_errors import StorageError
from segdla.machine.threads import Progress, in_threads

_KINDS = {
    UnreadableMaskError: "unreadable mask",
    SizesDifferError: "sizes differ",
    UnknownLabelsError: "unknown labels",
}
CONSTANT = 2.0  # standard deviation of the samples, of 255


@dataclass(frozen=True)
class SplitSummary:
    """Numbers about a split. Shares are of the labelled pixels.

    Weights are 0 for a class without pixels; there are none for classes that overlap.
    """

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
    """The findings about a data set, a summary of each split that has images, and the splits that could be opened.

    ``weights`` says where the weights are to start from, or which there are; "" if there are none. ``label_errors`` are
    those that a trained network suspects, if one has looked.
    """

    findings: list[Finding]
    splits: dict[str, SplitSummary]
    sources: Mapping[str, Source] = field(repr=False)
    weights: str = ""
    label_errors: LabelErrors | None = field(default=None, repr=False)

    @property
    def serious(self) -> bool:
        return any(finding.serious for finding in self.findings)

    def with_label_errors(self, errors: LabelErrors) -> "Report":
        """Return the report with what a network suspects, and its findings among the others."""
        return replace(self, findings=in_order([*self.findings, *errors.findings()]), label_errors=errors)

    def as_dict(self) -> dict[str, Any]:
        """Return the findings and summaries, for JSON."""
        findings = [{**asdict(finding), "serious": finding.serious} for finding in self.findings]
        return {"serious": self.serious, "findings": findings, "splits": {k: asdict(v) for k, v in self.splits.items()}}


class _Look(NamedTuple):
    """The outcome of reading one pair: no pair if it can't be read."""

    pair: Pair | None
    findings: list[Finding]
    files: FileFacts | None = None


def examine_splits(splits: Mapping[str, Source | UserError], progress: Progress = iter) -> Report:
    """Read all splits, in threads; each is a source, or the error that opening it raised.

    ``progress`` wraps the futures that are waited for, one a pair. Never raises for what is in the files.
    """
    sources = {split: source for split, source in splits.items() if not isinstance(source, UserError)}
    findings = [Finding("unusable split", k, str(v)) for k, v in splits.items() if isinstance(v, UserError)]
    for split, source in sources.items():
        findings += [Finding("image without mask", split, problem) for problem in source.problems]
        for path in source.unused:
            findings.append(Finding("mask without image", split, f"no image for the mask {path}"))
    keys = [(split, index) for split, source in sources.items() for index in range(len(source))]
    look_at = {
        split: reading_ahead(partial(_look, split, source), source, range(len(source)))
        for split, source in sources.items()
    }
    with in_threads(lambda key: look_at[key[0]](key[1]), keys) as futures:
        looks: list[_Look] = [future.result() for future in progress(futures)]
    pairs: dict[str, list[Pair]] = {split: [] for split in sources}
    for (split, _), look in zip(keys, looks, strict=True):
        findings += look.findings
        if look.pair is not None:
            pairs[split].append(look.pair)
    findings += judge_files([look.files for look in looks if look.files is not None])
    findings += duplicates(pairs, {split: len(source) for split, source in sources.items()})
    summaries = {
        split: _summary(len(source), pairs[split], source.classes) for split, source in sources.items() if len(source)
    }
    for split, summary in summaries.items():
        if sources[split].labelled and pairs[split]:
            kind = "class never occurs" if split == "train" else "class missing from split"
            missing = [name for name, pixels in summary.pixels.items() if not pixels]
            findings += [Finding(kind, split, f"{split} has no pixel of {name}") for name in missing]
    return Report(in_order(findings), summaries, sources)


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings in the order of a report."""
    return sorted(findings, key=lambda finding: list(IS_SERIOUS).index(finding.kind))


def _look(split: str, source: Source, index: int) -> _Look:
    name = str(next(iter(source.files(index)), source.name(index)))
    try:
        image, target = source.read(index)
    except StorageError:
        raise
    except UserError as error:
        return _Look(None, [Finding(_KINDS.get(type(error), "unreadable image"), split, str(error))])
    except Exception as error:  # a doctor must live through every disease
        return _Look(None, [Finding("unreadable image", split, f"{name}: {type(error).__name__}: {error}")])
    facts = look_at_image(image)
    counts = np.bincount(target.ravel(), minlength=256)
    findings = []
    if facts.std.max() < CONSTANT:
        color = facts.mean.round().astype(int).tolist()
        findings.append(Finding("nearly constant image", split, f"{name}: all of its pixels are about {color}"))
    if counts[IGNORE_INDEX] == target.size and source.labelled:
        findings.append(Finding("unlabelled", split, f"{name}: every pixel of its mask is ignored"))
    pair = Pair(name, facts, _digest(image), _digest(target), counts)
    return _Look(pair, findings, look_at_files(split, source, index))


def _digest(array: np.ndarray) -> bytes:
    return hashlib.blake2b(array.tobytes() + str(array.shape).encode("ascii")).digest()


def _summary(num_images: int, pairs: Sequence[Pair], classes: Classes) -> SplitSummary:
    areas = np.array([pair.image.size[0] * pair.image.size[1] for pair in pairs], np.float64)[:, None]
    total = max(1.0, areas.sum())
    mean = (areas * [pair.image.mean for pair in pairs]).sum(0) / total if pairs else np.zeros(3)
    square = (areas * [pair.image.square for pair in pairs]).sum(0) / total if pairs else np.zeros(3)
    counts = np.array([pair.counts for pair in pairs], np.int64).reshape(-1, 256)
    labelled = classes.pixels(counts)
    pixels, num_labelled = labelled.sum(0), counts[:, : classes.num_values].sum()
    image_pixels = (counts.sum(1)[:, None] * (labelled > 0)).sum(0)
    sizes = Counter(f"{height} x {width}" for height, width in (pair.image.size for pair in pairs))

    def rounded(weights: np.ndarray) -> list[float]:
        return [] if classes.overlapping else [float(f"{weight:.4g}") for weight in weights]

    return SplitSummary(
        images=num_images,
        sizes=dict(sizes.most_common()),
        mean=(mean / 255).round(4).tolist(),
        std=(np.sqrt(np.maximum(square - mean**2, 0)) / 255).round(4).tolist(),
        labelled=float(num_labelled / total),
        pixels=dict(zip(classes.names, pixels.tolist(), strict=True)),
        shares=dict(zip(classes.names, (pixels / max(1, num_labelled)).tolist(), strict=True)),
        images_with=dict(zip(classes.names, (labelled > 0).sum(0).tolist(), strict=True)),
        median_frequency_weights=rounded(median_frequency_weights(pixels, image_pixels)),
        enet_weights=rounded(enet_weights(pixels)),
    )
