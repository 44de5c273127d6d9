"""Check a data set's labels by a trained network: the pass over the images, and a sheet of the worst of them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from segdla.config import Config, load_config
from segdla.data.from_config import every_split
from segdla.data.source import Source
from segdla.data.subset import evenly_spaced
from segdla.doctor.check import Report
from segdla.doctor.from_config import check as check_files
from segdla.doctor.label_errors import Habits, SuspectRegion, find_regions, find_suspects
from segdla.doctor.label_ranking import LabelErrors, judge_image
from segdla.doctor.polygon_export import PolygonExport
from segdla.errors import UserError
from segdla.inference.from_config import Predictor
from segdla.machine.out_of_memory import answering_out_of_memory
from segdla.machine.terminal import progress
from segdla.machine.threads import ahead
from segdla.trained.open import TrainedNetwork, open_trained
from segdla.visualize import contact_sheet

_HABITS = 128
"""Images from which the network's habits are learned: millions of pixels, so a second pass over all is not needed."""
_SHEET = 12  # images
_BOXES = 6  # of an image
_REMEDY = "free some, or compute elsewhere (--device cpu)"  # of a lack of memory
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)

Pair = tuple[int, np.ndarray, np.ndarray]  # index, image (H,W,3), target (H,W)


def check(
    config: Config | str | os.PathLike[str],
    overrides: Mapping[str, Any] | None = None,
    *,
    model: str | os.PathLike[str] | None = None,
    splits: Sequence[str] = (),
    device: str | torch.device = "auto",
    export: str | os.PathLike[str] | None = None,
    to: str | None = None,
) -> Report:
    """Read every image and mask of a config's data set; return its findings and a summary of each split.

    config: a YAML file or a ``Config``; ``overrides`` are ``{"section.key": value}``.
    model: a run or checkpoint, whose network looks for label errors too: ``Report.label_errors`` ranks them.
    splits: those to look for label errors in; all that are labelled, if none is named.
    device: the network's: ``auto`` (CUDA, else MPS, else the CPU), or a torch device.
    export: a place to write label errors to as polygons, for a labelling tool; ``to`` is their format: coco, yolo,
    labelme or cvat. None goes by the suffix: .json is COCO, .xml is CVAT.

    Raises UserError if the config is not valid, or the network does not fit. The report holds every fault of the data.
    """
    config = load_config(config, overrides)
    if model is None:
        if export is not None:
            raise UserError("label errors are what a network suspects; name it by model, or leave export out")
        return check_files(config)
    polygons = None if export is None else PolygonExport(Path(export), to)
    trained = open_trained(model, device)
    trained.classes.require_exclusive("looking for label errors")
    sources = _sources(config, trained, splits)  # before time is spent
    if polygons is not None:
        polygons.require_fit(trained.classes)
    report = check_files(config)
    errors = check_labels(sources, trained)
    errors.sheet = draw_sheet(errors, sources, trained)
    if polygons is not None:
        polygons.write(errors, sources)
    return report.with_label_errors(errors)


def check_labels(sources: Mapping[str, Source], trained: TrainedNetwork) -> LabelErrors:
    """Return the label errors that a network suspects in sources by split; images that can't be read are left out.

    Beside the network, memory holds a few images and one image's probabilities, a byte each.
    """
    classes = trained.classes
    errors = LabelErrors(classes)
    predictor = trained.predictor()
    with answering_out_of_memory(trained.device, _REMEDY):
        for split, source in sources.items():
            habits = Habits(len(classes))
            sample = evenly_spaced(source, _HABITS)
            for _, image, target in _pairs(sample, f"learning what the network confuses in {split}"):
                habits.add(levels_of(predictor, image, trained.device), target)
            thresholds, surprise = habits.thresholds, habits.surprise
            for index, image, target in _pairs(source, f"checking labels of {split}"):
                levels = levels_of(predictor, image, trained.device)
                suspects = find_suspects(levels, target, thresholds)
                regions = find_regions(levels, target, suspects, surprise)
                seen = levels.argmax(0).astype(np.uint8)
                facts = split, index, source.name(index), tuple(map(str, source.files(index)))
                errors.add(judge_image(*facts, target, seen, suspects, regions, len(classes)), regions)
    return errors


def draw_sheet(errors: LabelErrors, sources: Mapping[str, Source], trained: TrainedNetwork) -> np.ndarray | None:
    """Return a picture of the images that rank first, with their labels and with what the network sees.

    They are predicted once more. Their regions of highest scores are framed. None if there are no images.
    """
    predictor, samples = trained.predictor(), []
    with answering_out_of_memory(trained.device, _REMEDY):
        for rank, one in enumerate(errors.ranked[:_SHEET], 1):
            image, target = sources[one.split].read(one.index)
            framed = with_boxes(image, errors.regions_of(one)[:_BOXES])
            seen = levels_of(predictor, image, trained.device).argmax(0).astype(np.uint8)
            samples += [(f"{rank}. {one.name}: labels", framed, target), (f"{rank}. the network", framed, seen)]
    return contact_sheet(samples, errors.classes.names, errors.classes.palette) if samples else None


def with_boxes(image: np.ndarray, regions: Sequence[SuspectRegion]) -> np.ndarray:
    """Return a copy of an image (H,W,3) with frames around regions, light and dark, to be seen on any ground."""
    picture, width = image.copy(), max(1, round(max(image.shape) / 280))
    for left, top, wide, high in (region.box for region in regions):
        corners = (left, top), (left + wide - 1, top + high - 1)
        cv2.rectangle(picture, *corners, _BLACK, 3 * width)
        cv2.rectangle(picture, *corners, _WHITE, width)
    return picture


@torch.inference_mode()
def levels_of(predictor: Predictor, image: np.ndarray, device: torch.device) -> np.ndarray:
    """Return the probabilities (C,H,W) uint8, in steps of 1/255, that a network sees in an image (H,W,3)."""
    images = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(device)
    return predictor.levels(images)[0].cpu().numpy()


def _pairs(source: Source, description: str) -> Iterator[Pair]:
    """Yield the pairs that can be read; the doctor has named the others."""

    def read(index: int) -> tuple[np.ndarray, np.ndarray] | None:
        try:
            return source.read(index)
        except UserError:
            return None

    for index, future in ahead(read, progress(range(len(source)), description)):
        pair = future.result()
        if pair is not None:
            yield index, *pair


def _sources(config: Config, trained: TrainedNetwork, splits: Sequence[str]) -> dict[str, Source]:
    """Return the labelled splits to check, by name. Raises UserError if one can't be, or there are none."""
    sources = {}
    for split, source in every_split(config).items():
        if splits and split not in splits:
            continue
        if isinstance(source, UserError):
            if splits:
                raise source
        elif source.labelled and len(source):
            sources[split] = source
    missing = [split for split in splits if split not in sources]
    if missing or not sources:
        raise UserError(f"no labels of {' or '.join(missing) or 'any split'} to check; see data in the config")
    for source in sources.values():
        if source.classes.names != trained.classes.names:
            raise UserError(
                f"{trained.path} was trained for the classes {', '.join(trained.classes.names)}, but the data set has "
                f"{', '.join(source.classes.names)}; check it with a network of its own classes"
            )
    return sources
