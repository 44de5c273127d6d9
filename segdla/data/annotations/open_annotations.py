"""The labelled images of an export, opened as a source: all of them, a subset, or those in a list."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from segdla.data.annotations.annotation_source import AnnotationSource, Item, Rules
from segdla.data.annotations.file_tree import FileTree, open_tree
from segdla.data.annotations.image_names import ImageNames
from segdla.data.annotations.label_export import Entry, LabelExport
from segdla.data.annotations.label_formats import format_named, recognise_tree
from segdla.data.archives import read_text
from segdla.data.folder import distinct_colors
from segdla.data.labels import IGNORE_INDEX, Color
from segdla.data.paths import user_path
from segdla.data.source import Classes
from segdla.data.wide_samples import SampleRange
from segdla.errors import UserError


def annotations(
    labels: str | Path,
    form: str,
    names: Sequence[str],
    *,
    images: str | Path | None = None,
    background: str | None = None,
    ignore: Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    smaller_on_top: bool | None = None,
    overlapping: bool = False,
    colors: Sequence[Color] | None = None,
    subset: str | None = None,
    list_file: str | Path | None = None,
    sample_range: SampleRange | None = None,
) -> AnnotationSource:
    """Return the images that are labelled in ``labels``: a file, a folder or an archive of the format ``form``.

    images: where the images are; None stands for where the labels are. names: the classes; ``label_map`` gives other
    labels the class that they stand for, and ``ignore`` lists labels that stand for none. background: the class of
    pixels without a label; None ignores them. smaller_on_top: draw smaller shapes over larger ones, not in the format's
    order; None leaves that to the format. overlapping: keep all labels of a pixel, as a set of classes; a pixel without
    a label is then of none. subset: the part of the images that the format names so. list_file: names of the images to
    take, one a line.

    Raises UserError if the labels can't be read.
    """
    paths = user_path(labels), form, None if images is None else user_path(images)
    tree, export, found = open_export(*paths, subset)
    entries, problems = export.entries, list(export.problems)
    if subset is not None:
        entries = [entry for entry in entries if entry.subset == subset]
        if not entries:
            raise _no_subset(tree, open_export(*paths)[1].entries, subset)
    if list_file is not None:
        entries, problems = _listed(user_path(list_file), entries, found)
    times = Counter(entry.image for entry in entries)
    problems += [
        f"{found.tree.path(image)} is labelled {number} times in {tree.root}; leave its labels once"
        for image, number in times.items()
        if number > 1
    ]
    ids = {name: 1 << i if overlapping else i for i, name in enumerate(names)}
    ids |= {label: ids[name] for label, name in (label_map or {}).items()}
    ids |= dict.fromkeys([*export.ignore, *ignore], IGNORE_INDEX)
    rules = Rules(
        ids,
        0 if overlapping else IGNORE_INDEX if background is None else ids[background],
        export.smaller_on_top if smaller_on_top is None else smaller_on_top,
        tuple(export.classes),
        overlapping,
    )
    palette = colors or _palette(names, export, background)
    items = [Item(found.tree, tree, entry) for entry in entries if times[entry.image] == 1]
    classes = Classes(tuple(names), tuple(palette), overlapping=overlapping)
    return AnnotationSource(items, classes, rules, problems, sample_range)


def recognise(labels: Path) -> str:
    """Return the name of the format of labels, by content. Raises UserError if it is none, or not one alone."""
    return recognise_tree(open_tree(user_path(labels)))


def open_export(
    labels: Path, form: str, images: Path | None, subset: str | None = None
) -> tuple[FileTree, LabelExport, ImageNames]:
    """Return the files of labels, what they say, and the images. Raises UserError if the labels can't be read."""
    tree = open_tree(labels)
    beside = tree if tree.root != labels.parent else open_tree(labels.parent)  # the images beside a file
    found = ImageNames(beside if images is None else open_tree(images))
    return tree, format_named(form).read(tree, found, subset), found


def _palette(names: Sequence[str], export: LabelExport, background: str | None) -> Sequence[Color]:
    colors = ({} if background is None else {background: (0, 0, 0)}) | dict(export.colors)
    listed = [colors[name] for name in names if name in colors]
    return listed if len(set(listed)) == len(names) else distinct_colors(len(names))


def _no_subset(tree: FileTree, entries: Sequence[Entry], subset: str) -> UserError:
    others = sorted({entry.subset for entry in entries} - {""})
    there = f"there are {', '.join(others)}" if others else "it names no subsets: leave subset out, or give a list"
    return UserError(f"{tree.root} has no image of the subset {subset!r}; {there}")


def _listed(path: Path, entries: Sequence[Entry], images: ImageNames) -> tuple[list[Entry], list[str]]:
    """Return the entries of the images in a list, and the problems with the others."""
    try:
        lines = [line.strip() for line in read_text(path).split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the list {path}: {getattr(error, 'strerror', error)}") from error
    by_image: dict[str, list[Entry]] = {}
    for entry in entries:
        by_image.setdefault(entry.image, []).append(entry)
    part: list[Entry] = []
    problems = []
    for name in dict.fromkeys(filter(None, lines)):
        try:
            some = by_image.get(images.find(name), [])
        except UserError as error:
            problems.append(f"{error} (listed in {path})")
            continue
        part += some
        if not some:
            problems.append(f"{name}, listed in {path}, has no labels; label it, or take it out of the list")
    return part, problems
