"""A data set opened as it is, with all of its classes: labels that a tool has exported, or folders of masks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segdla.data.annotations import AnnotationSource, Item, Rules, annotations, open_export
from segdla.data.annotations.label_export import LabelExport
from segdla.data.annotations.unlabelled import class_of_rest
from segdla.data.archives import is_regular
from segdla.data.background import background_of
from segdla.data.folder import folder
from segdla.data.images import read_palette
from segdla.data.label_files.labelled import UNSPLIT
from segdla.data.labels import IGNORE_INDEX
from segdla.data.pair_source import PairSource
from segdla.data.pairing import pair_folders
from segdla.data.source import Classes, Source
from segdla.doctor.class_names import name_classes, read_names
from segdla.doctor.contents import Contents, Labels, examine, name_labels
from segdla.doctor.label_draft import MOST_LABELS, about_boxes, labels_in, unlabelled_images
from segdla.doctor.naming import find_naming
from segdla.doctor.splits import SPLITS, FilePair, Folders, divide_by_sub_folders
from segdla.errors import UserError
from segdla.machine.threads import Progress, in_threads

IGNORED_REST = "ignored"
"""The word for pixels without a label that are of no class."""


class LabelledSet(NamedTuple):
    """Splits, by name or "" if there are none, and remarks for the user."""

    splits: dict[str, Source]
    remarks: list[str]
    says_unlabelled: bool = False  # without being told, as masks of ids do


def open_exported(
    labels: Path, images: Path | None, form: str, unlabelled: str | None, progress: Progress = iter
) -> LabelledSet:
    """Open labels of a format, with the classes that it lists, used or not, and others that the labels have.

    unlabelled: the class of the pixels without a label, or ``IGNORED_REST``; None goes by ``class_of_rest``.

    Raises UserError if they can't be read.
    """
    tree, export, found = open_export(labels, form, images)
    items = [Item(found.tree, tree, entry) for entry in export.entries]
    if not items:
        raise UserError(export.problems[0] if export.problems else f"{labels} has no labelled image; check the path")
    used, boxed, readable, _ = labels_in(items, export)
    export = replace(export, ignore=[*export.ignore, *boxed])
    names = [name for name in dict.fromkeys([*export.classes, *used]) if name not in boxed]
    background, reason = _rest(names, used, export, readable, unlabelled, progress)
    if background is not None and background not in names:
        names = [background, *names]
    if not names or len(names) > MOST_LABELS:
        raise UserError(f"{labels} has {len(names)} labels, where 1 to {MOST_LABELS} are expected; check the path")
    splits: dict[str, Source] = {}
    for subset in sorted({entry.subset for entry in export.entries}):
        source = annotations(labels, form, names, images=images, background=background, ignore=boxed, subset=subset)
        splits["" if subset == UNSPLIT else subset] = source
    remarks = [*([reason] if reason else []), *about_boxes(boxed), *unlabelled_images(found, export), *export.remarks]
    return LabelledSet(splits, remarks)


def open_masks(folders: Sequence[tuple[Path, Path]], progress: Progress = iter) -> LabelledSet:
    """Open folders (images, masks), with the classes whose ids or colours the masks hold.

    One for all, which sub-folders named like splits divide, or one each to train, to validate and perhaps to test on.

    Raises UserError if they aren't a data set.
    """
    named = [Folders(images, masks, find_naming(images, masks)) for images, masks in folders]
    pairings = [pair_folders(*one) for one in named]
    contents = examine([pair for pairing in pairings for pair in pairing.pairs], progress)
    beside = [place for _, masks in folders for place in (masks, masks.parent)]
    beside += [images.parent for images, _ in folders]
    labels, origins = name_classes(name_labels(contents), contents, beside)
    labels = _with_unused(labels, contents, beside)
    source = folder(
        "/",
        labels.classes,
        images=str(named[0].images.absolute()),
        masks=str(named[0].masks.absolute()),
        naming=named[0].naming,
        colors=labels.colors,
        label_map=labels.label_map,
        ignore=labels.ignore,
        ignore_colors=labels.ignore_colors or (),
    )
    readable = set(contents.pairs)
    parts: Mapping[str, Sequence[FilePair]] = dict(zip(SPLITS, (one.pairs for one in pairings), strict=False))
    if len(folders) == 1:
        parts = divide_by_sub_folders(named[0], contents.pairs).pairs or {"": contents.pairs}
    problems = [*(problem for pairing in pairings for problem in pairing.problems), *contents.problems]
    splits: dict[str, Source] = {}
    for split, pairs in parts.items():
        kept = [pair for pair in pairs if pair in readable]
        splits[split] = PairSource(kept, source.classes, source.encode, problems)
        problems = []
    return LabelledSet(splits, [*([labels.remark] if labels.remark else []), *origins], says_unlabelled=True)


def _with_unused(labels: Labels, contents: Contents, folders: Sequence[Path]) -> Labels:
    """Add classes of which no mask has a pixel, if a class_names.txt lists them, so that ids stay as they are."""
    files = [path for path in (place / "class_names.txt" for place in folders) if is_regular(path)]
    if contents.colored or not files:
        return labels
    try:
        by_id = read_names(files[0]).by_id
    except ValueError:  # ``name_classes`` has said so
        return labels
    names = [by_id.get(i, "") for i in range(len(by_id))]
    ids = labels.label_map or dict(enumerate(labels.classes))
    if any(by_id.get(i) != name for i, name in ids.items()) or "" in names or len(set(names)) < len(names):
        return labels
    palette = read_palette(contents.pairs[0][1]) if labels.colors else None
    colors = [] if palette is None else [(red, green, blue) for red, green, blue in palette[: len(names)].tolist()]
    are_apart = len({*colors, *(labels.ignore_colors or ())}) == len(names) + len(labels.ignore_colors or ())
    return replace(labels, classes=names, label_map=None, colors=colors if are_apart else None)


def _rest(
    names: Sequence[str],
    used: Sequence[str],
    export: LabelExport,
    items: Sequence[Item],
    unlabelled: str | None,
    progress: Progress,
) -> tuple[str | None, str]:
    """Return the class of the pixels without a label, None if they are ignored, and the reason."""
    if unlabelled is not None:
        return None if unlabelled == IGNORED_REST else unlabelled, ""
    own = background_of(names)
    if own is not None:
        return own, ""
    ids = dict.fromkeys(names, 0) | dict.fromkeys(export.ignore, IGNORE_INDEX)
    source = AnnotationSource(items, Classes((), ()), Rules(ids, 1, export.smaller_on_top, tuple(export.classes)))
    counts = np.zeros(256, np.int64)
    with in_threads(
        lambda index: np.bincount(source.target(index).ravel(), minlength=256), range(len(items))
    ) as futures:
        for future in progress(futures):
            try:
                counts += future.result()
            except UserError:
                continue  # told when the image is converted
    return class_of_rest(used, export.classes, float(counts[1] / max(1, counts.sum())))
