"""From a config to the doctor's report, and from folders or an export of labels to a first config."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

from segdla.config import Config, MasksConfig, find_config, is_config, load_config, parse_yaml
from segdla.data.annotations import UnknownFormatError, binary_masks, recognise
from segdla.data.background import background_of
from segdla.data.from_config import every_split
from segdla.data.label_files.data_set import Conversion, ImageFiles, write_data_set
from segdla.data.label_files.labelled import Style
from segdla.data.label_files.outlines import EXACT
from segdla.data.label_files.written_formats import written_format
from segdla.data.labels import IGNORE_INDEX
from segdla.data.paths import user_path
from segdla.data.source import Source
from segdla.data.unlabelled_images import unlabelled_images
from segdla.doctor.check import Report
from segdla.doctor.copies import NO_LABELS
from segdla.doctor.draft import Draft, draft
from segdla.doctor.finding import Finding
from segdla.doctor.label_draft import draft_labels
from segdla.doctor.labelled_images import examine
from segdla.doctor.labelled_sets import LabelledSet, open_exported, open_masks
from segdla.doctor.mask_folders import find_mask_folders, left_out
from segdla.doctor.measure_pace import measure_pace
from segdla.errors import UserError, quoted
from segdla.machine.files import write_text
from segdla.machine.terminal import progress
from segdla.models.from_config import about_weights

T = TypeVar("T")
ImagesAndMasks = Sequence[tuple[Path, Path]]
"""ImagesAndMasks of images, and of their masks: one for all, or one each to train, to validate and to test on."""


def check(config: Config | str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> Report:
    """Read every image and mask of a config's data set; return its findings and a summary of each split.

    It also looks whether the weights to start from can be had; nothing is downloaded. config: a YAML file or a
    ``Config``; ``overrides`` are ``{"section.key": value}``.

    Raises UserError if the config is not valid. The report holds every fault of the data.
    """
    settings = load_config(config, overrides)
    report = examine(_all_images(settings), partial(progress, description="reading"))
    try:
        return replace(report, weights=about_weights(settings.model))
    except UserError as error:
        return replace(report, findings=[Finding("missing weights", "model", str(error)), *report.findings])


def _all_images(config: Config) -> dict[str, Source | UserError]:
    """Open all splits of a config's data set, and the images without masks that join the training images."""
    splits, folder = every_split(config), config.data.unlabelled if isinstance(config.data, MasksConfig) else None
    labelled = [source for source in splits.values() if isinstance(source, Source)]
    if folder is None or not labelled:
        return splits
    try:
        rest = unlabelled_images(folder, labelled[0].classes, labelled, config.sample_range, IGNORE_INDEX)
    except UserError as error:
        return {**splits, NO_LABELS: error}
    return {**splits, NO_LABELS: rest}


def write_draft(
    folders: Sequence[tuple[Path, Path]],
    config: Path,
    fraction: float = 0.15,
    seed: int = 0,
    lists: Sequence[Path] = (),
) -> Draft:
    """Draft a first config for folders of images and masks, and write it with its lists beside it; see ``draft``.

    If each image has several masks, of one class or object each, the config has them merged; see ``draft_labels``.

    Raises UserError if a file exists or can't be written, or the folders hold no data set.
    """
    _require_unused(config)
    rest = config, fraction, seed, lists, measure_pace, partial(progress, description="looking")

    def of_labels(labels: Path, images: Path | None, form: str) -> Draft:
        return draft_labels(labels, images, form, *rest)

    return _written(_of_masks(folders, lambda one: draft(one, *rest), of_labels), config)


def write_label_draft(
    labels: Path,
    config: Path,
    images: Path | None = None,
    form: str | None = None,
    fraction: float = 0.15,
    seed: int = 0,
    lists: Sequence[Path] = (),
) -> Draft:
    """Draft a first config for the export of a labelling tool, and write it with its lists; see ``draft_labels``.

    If the files are of no format, but there are masks, it is drafted like ``write_draft`` for folders of those.

    Raises UserError like ``write_draft``.
    """
    _require_unused(config)
    rest = config, fraction, seed, lists, measure_pace, partial(progress, description="looking")

    def of_labels(labels: Path, images: Path | None, form: str) -> Draft:
        return draft_labels(labels, images, form, *rest)

    def of_masks(folders: ImagesAndMasks) -> Draft:
        drafted = _of_masks(folders, lambda one: draft(one, *rest), of_labels)
        return replace(drafted, remarks=[*drafted.remarks, *([] if images else left_out(labels, folders))])

    return _written(_of_labels_or_masks(labels, images, form, of_labels, of_masks), config)


def _written(drafted: Draft, config: Path) -> Draft:
    parse_yaml(drafted.files[config], source=str(config))  # before anything is written
    for path in drafted.files:
        _require_unused(path)
    for path, text in drafted.files.items():
        write_text(path, text)
    return drafted


def _require_unused(path: Path) -> None:
    if path.exists():
        raise UserError(f"{path} exists; --write under another name, or remove it")


def convert(
    source: str | os.PathLike[str] | Config | Mapping[str, Source],
    to: str,
    output: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    form: str | None = None,
    unlabelled: str | None = None,
    background: bool = False,
    tolerance: float = EXACT,
    min_pixels: int = 1,
    image_files: ImageFiles = "copy",
) -> Conversion:
    """Write a data set in another format: images and labels, into a new folder.

    source: labels of a tool, a folder of masks, a config, or sources by the name of their split. to: coco, yolo,
    labelme, cvat, voc or masks. images: where they are, if not where the labels are. form: the format of the labels;
    None recognises it. unlabelled: the class of pixels without a label, or ``ignored``; None chooses like
    ``segdla check``, and masks of ids or colours say it themselves. background: label it too, instead of leaving it
    without. tolerance: of outlines, in pixels; up to 0.5 they restore every pixel, and 0 keeps the pixels' edges.
    min_pixels: smaller regions get the class around them. image_files: copy, link or none.

    Raises UserError if an argument is wrong, the folder exists, or nothing can be converted.
    """
    written = written_format(to)
    if not 0 <= tolerance < math.inf or min_pixels < 1 or image_files not in get_args(ImageFiles):
        raise UserError(
            f"tolerance is 0 or more, min_pixels 1 or more, image_files one of {', '.join(get_args(ImageFiles))}, not "
            f"{tolerance}, {min_pixels} and {quoted(image_files, 40)}"
        )
    if os.path.lexists(output):
        raise UserError(f"{output} exists; choose another --output, or remove it")
    opened = open_labels(source, images, form, unlabelled)
    classes = next(iter(opened.splits.values())).classes
    classes.require_exclusive("segdla convert")
    own = None if background else background_of(classes.names)
    style = Style(classes, None if own is None else classes.names.index(own), tolerance, min_pixels)
    converting = partial(progress, description="converting")
    done = write_data_set(opened.splits, written, user_path(Path(output)), style, image_files, converting)
    return replace(done, remarks=(*opened.remarks, *done.remarks))


def open_labels(
    source: str | os.PathLike[str] | Config | Mapping[str, Source],
    images: str | os.PathLike[str] | None = None,
    form: str | None = None,
    unlabelled: str | None = None,
) -> LabelledSet:
    """Open labels as ``convert`` takes them. Raises UserError if there are none."""
    if isinstance(source, Mapping):
        if len({one.classes.names for one in source.values()}) != 1:
            raise UserError("a data set is of one source at least, and all of the same classes; look at those given")
        return LabelledSet(dict(source), [])
    if isinstance(source, Config) or is_config(find_config(source)):
        if images is not None or form is not None or unlabelled is not None:
            raise UserError("a config says itself where images are and what is unlabelled; give it alone")
        return _configured(load_config(source))
    looking = partial(progress, description="looking")

    def of_labels(labels: Path, images: Path | None, form: str) -> LabelledSet:
        return open_exported(labels, images, form, unlabelled, looking)

    def of_masks(folders: ImagesAndMasks) -> LabelledSet:
        return _of_masks(folders, lambda one: open_masks(one, looking), of_labels)

    labels, folder = user_path(Path(source)), None if images is None else user_path(Path(images))
    opened = _of_labels_or_masks(labels, folder, form, of_labels, of_masks)
    if opened.says_unlabelled and unlabelled is not None:
        raise UserError("masks say themselves what is unlabelled; leave --unlabelled out")
    return opened


def _of_labels_or_masks(
    labels: Path,
    images: Path | None,
    form: str | None,
    of_labels: Callable[[Path, Path | None, str], T],
    of_masks: Callable[[ImagesAndMasks], T],
) -> T:
    """Return what a function gives for labels of a format, or for folders of masks if they are of none."""
    try:
        form = form or recognise(labels)
    except UnknownFormatError as unknown:
        try:
            return of_masks(find_mask_folders(labels) if images is None else [(images, labels)])
        except UserError as error:
            raise UserError(f"{unknown}; and as masks it can't be read: {error}") from error
    return of_labels(labels, images, form)


def _of_masks(
    folders: ImagesAndMasks, of_ids: Callable[[ImagesAndMasks], T], of_labels: Callable[[Path, Path | None, str], T]
) -> T:
    """Return what a function gives for masks, or for labels if an image has several masks, of one class or object."""
    try:
        return of_ids(folders)
    except UserError:
        if len(folders) != 1 or not binary_masks.fit(*folders[0]):
            raise
    images, masks = folders[0]
    return of_labels(masks, images, "binary_masks")


def _configured(config: Config) -> LabelledSet:
    """Return the splits of a config whose truth is public."""
    splits: dict[str, Source] = {}
    remarks = []
    for split, opened in every_split(config).items():
        if isinstance(opened, UserError):
            raise opened
        if opened.labelled:
            splits[split] = opened
        else:
            remarks.append(f"left out, as its labels are not public: {split}")
    return LabelledSet(splits, remarks)
