"""A first config for labels that a labelling tool has exported."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segdla.data.annotations import AnnotationSource, Item, Rules, open_export, recognise
from segdla.data.annotations.image_names import ImageNames
from segdla.data.annotations.label_export import LabelExport
from segdla.data.annotations.unlabelled import class_of_rest
from segdla.data.labels import IGNORE_INDEX
from segdla.data.source import Classes
from segdla.doctor.budget import Pace, fit_budget
from segdla.doctor.contents import Contents
from segdla.doctor.draft import Draft, readable_parts
from segdla.doctor.draft_yaml import config_text, flow
from segdla.doctor.image_facts import ImageFacts, look_at_image, sum_up
from segdla.doctor.splits import SPLITS, Division, FilePair, divide_by_lists, draw_validation
from segdla.errors import UserError, one_line, quoted
from segdla.machine.threads import Progress, in_threads

MOST_LABELS = 253
"""The most labels that a set may have, for ids of a byte."""


class _Look(NamedTuple):
    """The contents of one image and of its labels."""

    image: ImageFacts
    counts: np.ndarray  # (256,) pixels by id


class _Choice(NamedTuple):
    """The classes of the config, their pixels, and the class of the pixels without a label."""

    classes: list[str]
    pixels: list[int]
    background: str | None
    reason: str


def draft_labels(
    labels: Path,
    images: Path | None,
    form: str | None,
    config: Path,
    fraction: float,
    seed: int,
    lists: Sequence[Path],
    measure: Callable[[Sequence[FilePair], int, Callable[[FilePair], object]], Pace],
    progress: Progress = iter,
) -> Draft:
    """Draft the file ``config`` for an export of labels, and lists of images beside it if they are needed.

    images: where they are, if not where the labels are. form: the name of the format; None recognises it. lists: files
    of image names that split the images. Without them they are split as the format has them, or by drawing a
    ``fraction`` to validate on. measure: gives the machine's pace for pairs, a number of classes, and the function that
    reads a pair.

    Raises UserError if the labels aren't a data set.
    """
    form = form or recognise(labels)
    tree, export, found = open_export(labels, form, images)
    names, boxed, items, problems = labels_in([Item(found.tree, tree, entry) for entry in export.entries], export)
    if len(names) > MOST_LABELS:
        raise UserError(f"{labels} has {len(names)} labels, and {MOST_LABELS} classes at most; are they of instances?")
    ids = {name: i for i, name in enumerate(names)} | dict.fromkeys((*export.ignore, *boxed), IGNORE_INDEX)
    rules = Rules(ids, len(names), export.smaller_on_top, tuple(export.classes))
    source = AnnotationSource(items, Classes((), ()), rules)
    indices = {(item.path, tree.path(item.entry.labels)): index for index, item in enumerate(items)}
    contents = _examine(source, indices, [*export.problems, *problems], progress)
    choice = _choose(names, export.classes, contents.pixels.sum(0))
    division = _divided(source, contents, indices, found.tree.root, fraction, seed, lists)
    parts = readable_parts(division, contents, contents.problems)
    files: dict[Path, str] = {}
    settings = {split: f"{{subset: {flow(split)}}}" for split in parts}
    if division.remarks or lists or contents.problems:
        paths = {split: config.with_name(f"{config.stem}_{split}.txt") for split in parts}
        settings = {split: f"{{list: {flow(str(path.resolve()))}}}" for split, path in paths.items()}
        of_pair = {pair: items[index].entry.image for pair, index in indices.items()}
        files = {path: "".join(f"{of_pair[pair]}\n" for pair in parts[split]) for split, path in paths.items()}
    pace = measure(contents.pairs, len(choice.classes), lambda pair: source.read(indices[pair]))
    budget = fit_budget(pace, contents.images.size, len(parts["train"]), len(parts["val"]))
    lines = [*_data_lines(labels, images, form, choice, export, boxed), *(f"  {k}: {v}" for k, v in settings.items())]
    text = config_text(f"{labels}, in the format {form}: ", lines, contents, budget, pace)
    remarks = [*_remarks(form, export, contents, choice), *about_boxes(boxed), *unlabelled_images(found, export)]
    return Draft({config: text, **files}, [*remarks, *division.remarks])


def labels_in(items: Sequence[Item], export: LabelExport) -> tuple[list[str], list[str], list[Item], list[str]]:
    """Return the labels of outlines, those of boxes alone, the items that can be read, and the others' problems.

    Raises UserError if there are boxes alone.
    """
    used: set[str] = set()
    boxes: dict[str, str] = {}
    readable, problems = [], []
    sizes = AnnotationSource(items, Classes((), ()), Rules({}, IGNORE_INDEX, False, ()))
    for index, item in enumerate(items):
        try:
            drawing = item.entry.load(sizes.image_size(index))
        except UserError as error:
            problems.append(str(error))
            continue
        readable.append(item)
        used |= {shape.label for shape in drawing.shapes if not shape.refusal}
        for shape in drawing.shapes:
            if shape.refusal:
                boxes.setdefault(shape.label, shape.refusal)
        if drawing.ground is not None:
            used |= {export.classes[i] for i in np.unique(drawing.ground).tolist() if i < len(export.classes)}
    if boxes and not used - {*export.ignore}:
        raise UserError(next(iter(boxes.values())))
    listed = [label for label in export.classes if label in used]
    boxed = sorted(boxes.keys() - used - {*export.ignore})
    return [*listed, *sorted(used - {*listed, *export.ignore})], boxed, readable, problems


def about_boxes(labels: Sequence[str]) -> list[str]:
    """Return a remark on the labels of boxes alone; none if there are no such labels."""
    if not labels:
        return []
    return [
        f"ignored, as only boxes have them, which hold what is around an object too: {quoted(list(labels), 200)}; to "
        "train on them, draw polygons"
    ]


def unlabelled_images(found: ImageNames, export: LabelExport) -> list[str]:
    """Return a remark on the images that have no labels; none if there are no such images."""
    used = {name for entry in export.entries for name in (entry.image, entry.labels, *entry.further)}
    others = {*found.names} - used
    if not others:
        return []
    return [f"left out, as they have no labels: {len(others)}, such as {one_line(min(others), 100)}"]


def _examine(
    source: AnnotationSource, indices: Mapping[FilePair, int], problems: Sequence[str], progress: Progress
) -> Contents:
    """Read all images and labels, in threads; ``pixels`` have the labels in order, then what is without a label.

    Raises UserError if none can be read.
    """
    pairs: list[FilePair] = []
    looks: list[_Look] = []
    faults = list(problems)
    with in_threads(lambda index: _look(source, index), list(indices.values())) as futures:
        for pair, future in zip(indices, progress(futures), strict=True):
            try:
                looks.append(future.result())
                pairs.append(pair)
            except UserError as error:
                faults.append(str(error))
    if len(pairs) < 2:
        why = f": {faults[0]}" if faults else ""
        raise UserError(f"{len(pairs)} labelled images can be read, to train on, and another to validate on{why}")
    return Contents(
        pairs=pairs,
        problems=faults,
        colored=False,
        values={},
        images=sum_up([look.image for look in looks]),
        pixels=np.array([look.counts for look in looks])[:, : source.rules.rest + 1],
    )


def _look(source: AnnotationSource, index: int) -> _Look:
    image, target = source.read(index)
    return _Look(look_at_image(image), np.bincount(target.ravel(), minlength=256))


def _choose(names: Sequence[str], listed: Sequence[str], pixels: np.ndarray) -> _Choice:
    """Choose the class of the pixels without a label; see ``class_of_rest``. Raises UserError if there is no label."""
    if not names:
        raise UserError("the labels hold no shape: label something, or check the paths")
    background, reason = class_of_rest(names, listed, pixels[-1] / max(1, pixels.sum()))
    counts = dict(zip(names, pixels[:-1].tolist(), strict=True))
    if background is None:
        return _Choice(list(names), list(counts.values()), None, reason)
    if background not in counts:
        order = [label for label in listed if label in counts or label == background]
        first = order if background in order else [background]
        counts = {label: counts.get(label, 0) for label in (*first, *names)}
    counts[background] += int(pixels[-1])
    return _Choice(list(counts), list(counts.values()), background, reason)


def _divided(
    source: AnnotationSource,
    contents: Contents,
    indices: Mapping[FilePair, int],
    root: Path,
    fraction: float,
    seed: int,
    lists: Sequence[Path],
) -> Division:
    if lists:
        return divide_by_lists(contents.pairs, root, lists)
    subsets: dict[str, list[FilePair]] = {split: [] for split in SPLITS}
    for pair in contents.pairs:
        subsets.setdefault(source.items[indices[pair]].entry.subset, []).append(pair)
    division = Division({split: subsets[split] for split in SPLITS if subsets[split]})
    if {"train", "val"} <= division.pairs.keys():
        return division
    if "train" not in division.pairs:
        kept = {split: pairs for split, pairs in division.pairs.items() if split == "test"}
        rest = [pair for pair in contents.pairs if pair not in set(kept.get("test", ()))]
        division = Division({"train": rest, **kept})
    return draw_validation(division, contents.pairs, contents.images.groups, contents.pixels, fraction, seed)


def _data_lines(
    labels: Path, images: Path | None, form: str, choice: _Choice, export: LabelExport, ignored: Sequence[str]
) -> list[str]:
    shares = [100 * pixels / max(1, sum(choice.pixels)) for pixels in choice.pixels]
    lines = [
        "  dataset: annotations",
        f"  format: {form}",
        f"  labels: {flow(str(labels.resolve()))}",
        *([] if images is None else [f"  images: {flow(str(images.resolve()))}"]),
        f"  classes: {flow(choice.classes)}",
        f"  # of the pixels they have, in %: {', '.join(f'{share:.2g}' for share in shares)}",
        f"  background: {flow(choice.background)}  # the class of pixels without a label; null ignores them",
        *([f"  ignore: {flow(list(ignored))}  # labels of boxes alone"] if ignored else []),
    ]
    order = "smaller  # shapes lie over larger ones" if export.smaller_on_top else "last  # shapes lie on top"
    return [*lines, f"  overlap: {order}; or {'last' if export.smaller_on_top else 'smaller'}"]


def _remarks(form: str, export: LabelExport, contents: Contents, choice: _Choice) -> list[str]:
    remarks = [f"{len(contents.pairs)} labelled images of the format {form}; {len(choice.classes)} classes"]
    remarks += [choice.reason] if choice.reason else []
    remarks += export.remarks
    if contents.problems:
        more = f" (and {len(contents.problems) - 1} more)" if contents.problems[1:] else ""
        remarks.append(f"left out: {contents.problems[0]}{more}")
    return remarks
