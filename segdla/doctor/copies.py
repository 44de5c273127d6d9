"""Images that are in a data set twice: the same, or nearly so, in a split or across splits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from segdla.doctor.duplicates import NEARLY_SURE, deviations, near_groups, nearest_before
from segdla.doctor.finding import Finding
from segdla.doctor.image_facts import ImageFacts

NO_LABELS = "unlabelled"
"""The split of the images that are trained on without masks."""


class Pair(NamedTuple):
    """An image and its target, as far as they are compared and summed up."""

    name: str
    image: ImageFacts
    image_digest: bytes
    target_digest: bytes
    counts: np.ndarray  # (256,) pixels by train id


def duplicates(pairs: Mapping[str, Sequence[Pair]], num_images: Mapping[str, int]) -> list[Finding]:
    """Return the findings about images of each split that are the same, or nearly so.

    Images without masks may well resemble those that are trained on, but not those that a score is made of.
    """
    copies: dict[bytes, list[tuple[str, Pair]]] = defaultdict(list)  # with their splits
    for split in pairs:
        for pair in pairs[split]:
            copies[pair.image_digest].append((split, pair))
    findings = [_same(group) for group in copies.values() if len(group) > 1]
    # Copies have been reported; a constant image resembles none.
    firsts = [group[0] for group in copies.values() if group[0][1].image.fingerprint.any()]
    if not firsts:
        return findings
    vectors = deviations(np.stack([pair.image.fingerprint for _, pair in firsts]))
    return findings + _near_across(firsts, vectors, list(pairs)) + _near_within(firsts, vectors, num_images)


def _same(copies: Sequence[tuple[str, Pair]]) -> Finding:
    """Return the finding about images that are the same, in the order of the splits."""
    splits = {split for split, _ in copies}
    if splits == {"train", NO_LABELS}:
        kind = "labelled images among the unlabelled"
    elif len(splits) > 1:
        kind = "duplicate across splits"
    elif len({pair.target_digest for _, pair in copies}) > 1:
        kind = "duplicates with different masks"
    else:
        kind = "duplicates"
    names = ", ".join(f"{pair.name} ({split})" for split, pair in copies)
    return Finding(kind, copies[-1][0], f"{len(copies)} times the same image: {names}")


def _near_across(pairs: Sequence[tuple[str, Pair]], vectors: np.ndarray, splits: Sequence[str]) -> list[Finding]:
    """Return the findings about images that resemble one of an earlier split, but unlabelled ones to train on."""
    findings = []
    of = np.array([split for split, _ in pairs])
    part = np.array([splits.index(split) for split in of])

    def nearest_in(rows: np.ndarray) -> list[tuple[int, int, float]]:
        return [(rows[i], rows[j], similarity) for i, j, similarity in nearest_before(vectors[rows], part[rows])]

    nearest_ones = nearest_in(np.flatnonzero(of != NO_LABELS))
    if NO_LABELS in splits:
        nearest_ones += [one for one in nearest_in(np.flatnonzero(of != "train")) if of[one[0]] == NO_LABELS]
    for index, nearest, similarity in nearest_ones:
        (split, pair), (other_split, other) = pairs[index], pairs[nearest]
        is_sure = similarity > NEARLY_SURE
        kind = "near duplicate across splits" if is_sure else "similar images across splits"
        verb = "is nearly" if is_sure else "resembles"
        message = f"{pair.name} ({split}) {verb} {other.name} ({other_split}), similarity {similarity:.2f}"
        findings.append(Finding(kind, split, message))
    return findings


def _near_within(
    pairs: Sequence[tuple[str, Pair]], vectors: np.ndarray, num_images: Mapping[str, int]
) -> list[Finding]:
    groups: list[tuple[str, list[str]]] = []  # split, names
    for split in num_images:
        inside = np.flatnonzero([other == split for other, _ in pairs])
        groups += [(split, [pairs[inside[i]][1].name for i in group]) for group in near_groups(vectors[inside])]
    findings = []
    for split, names in sorted(groups, key=lambda group: -len(group[1])):
        ends = f"{names[0]} {'and' if len(names) == 2 else 'to'} {names[-1]}"
        message = f"{len(names)} of {num_images[split]} images are nearly the same: {ends}"
        findings.append(Finding("near duplicates", split, message))
    return findings
