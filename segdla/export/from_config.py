"""From the config to an export, which is calibrated and scored on images of the config's data set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segdla.checkpoints.checkpoint import Card
from segdla.config import Config, WholeImagesConfig
from segdla.data.class_weights import count_pixels
from segdla.data.from_config import open_split, whole_images
from segdla.data.source import Classes, Source
from segdla.data.subset import evenly_spaced
from segdla.data.whole_images.from_config import evaluation_crop
from segdla.errors import UserError
from segdla.evaluation.count import count_batches
from segdla.evaluation.evaluator import Prediction
from segdla.evaluation.set_counts import counts_of
from segdla.evaluation.top_scores import TopCounts
from segdla.export.formats import FORMATS
from segdla.export.write import MOST_LOST, Export, Scorer, export, require_unused
from segdla.inference.best_first import best_first
from segdla.inference.from_config import Predictor, head_of
from segdla.inference.head import Head
from segdla.inference.predictors import LogitsOf
from segdla.machine.terminal import progress, say
from segdla.models.dlaseg import DLASeg
from segdla.models.from_config import has_windows

NUM_IMAGES = 20
"""Validation images on which a file for masks is scored."""
NUM_WHOLE_IMAGES = 200
"""The same of a file for whole images, of which each is half a point then."""
NUM_CALIBRATION = 64
"""Training images from which int8 takes the ranges of activations."""
_CPU = torch.device("cpu")


def export_network(
    network: DLASeg,
    card: Card,
    config: Config,
    path: Path,
    kind: str,
    *,
    int8: bool = False,
    num_images: int | None = None,
    max_drop: float = 2.0,
    size: tuple[int, int] | None = None,
) -> Export:
    """Write a network, on the CPU, and keep the file if it computes the same.

    It is scored on ``num_images`` validation images, if there are any; None is ``NUM_IMAGES`` of them, or
    ``NUM_WHOLE_IMAGES`` that are labelled as a whole. With ``int8`` it may lose ``max_drop`` points of mIoU, or of
    top-1. ``size`` is the (height, width) of images, for a format whose files are for one size; None is that of the
    first validation image. Larger images are seen by windows of this size. A network that labels whole images sees
    ``data.crop``.

    Raises UserError if the file exists or is not kept.
    """
    if int8 and not FORMATS[kind].INT8:
        *others, last = (name for name, module in FORMATS.items() if module.INT8)
        raise UserError(f"int8 is for {', '.join(others)} and {last}, not for {kind}")
    if not max_drop >= 0:
        raise UserError(f"max_drop (--max-drop) is {max_drop}: give a number of points from 0 on")
    require_unused(path, kind)  # before data are opened
    size = _size(config, kind, size)
    head, calibration = head_of(config, card.classes, card.thresholds), calibration_images(config) if int8 else None
    images = validation_images(config, card.classes, num_images)
    scorer = None if images is None else scorer_on(images, config, head, size)
    allowed = max_drop if int8 else MOST_LOST
    checks: dict[str, Any] = {"calibration": calibration, "max_drop": allowed, "scorer": scorer, "head": head}
    return export(network, card, path, kind, **checks, size=size)


def calibration_images(config: Config) -> Iterator[np.ndarray]:
    """Return the training images (H,W,3) uint8 that int8 is calibrated on, read when they are asked for.

    Those that are labelled as a whole are cut as evaluation cuts them. Raises UserError if there are none.
    """
    images, crop = evenly_spaced(open_split(config, "train"), NUM_CALIBRATION), evaluation_crop(config)
    pairs = map(images.read, progress(range(len(images)), "calibrating"))
    return (image if crop is None else crop(image, target)[0] for image, target in pairs)


def validation_images(config: Config, classes: Classes, number: int | None = None) -> Source | None:
    """Return at most ``number`` labelled validation images of these classes; if there are none, say so, and why.

    None is ``NUM_IMAGES``, or ``NUM_WHOLE_IMAGES`` that are labelled as a whole.
    """
    number = number or (NUM_WHOLE_IMAGES if classes.whole_images else NUM_IMAGES)
    try:
        images = evenly_spaced(open_split(config, "val"), number)
        if images.classes.names != classes.names:
            raise UserError(f"the data set has other classes ({', '.join(images.classes.names)}) than the network")
        if not classes.whole_images and not count_pixels(images)[0].any():
            raise UserError(f"no labelled pixel of a class in {len(images)} validation images")
    except UserError as error:
        say(f"not scored: {error}")
        return None
    return images


def scorer_on(
    images: Source, config: Config, head: Head, size: tuple[int, int] | None = None, device: torch.device = _CPU
) -> Scorer:
    """Return the scorer on labelled images; those larger than ``size``, if there is one, are seen by windows of it."""
    if images.classes.whole_images:
        return _top1_scorer(images, config, device)
    if size is not None:
        config = config.model_copy(update={"eval": config.eval.model_copy(update={"window": size})})

    def mean_iou(logits_of: LogitsOf, stride: int) -> float:
        predictor = Predictor(logits_of, stride, config.eval, head=head)
        confusion = counts_of(images.classes, device)
        batches = progress(whole_images(config, images, device), "scoring")
        count_batches(lambda batch: Prediction(predictor.class_ids(batch)), batches, [confusion], device)
        return confusion.scores(images.classes.names).mean_iou

    return Scorer(mean_iou, len(images))


def is_for_one_size(config: Config, kind: str) -> bool:
    """Return whether a file of this format, and of this network, is for images of one size.

    Swin's windows can't be traced for all sizes: sympy is busy with them for longer than anybody waits.
    """
    return FORMATS[kind].ONE_SIZE or isinstance(config.data, WholeImagesConfig) or has_windows(config.model)


def _size(config: Config, kind: str, size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the size of a file's images; None if it takes any. Raises UserError if it isn't known."""
    if isinstance(config.data, WholeImagesConfig):
        if size is not None:
            raise UserError(
                f"a network for whole images sees {config.data.crop[0]}x{config.data.crop[1]} (data.crop): "
                "leave out the size (--size)"
            )
        return config.data.crop
    if not is_for_one_size(config, kind):
        if size is not None:
            raise UserError(f"a {kind} file takes images of any size: leave out the size (--size)")
        return None
    if size is not None:
        return size
    try:
        height, width = open_split(config, "val").read(0)[0].shape[:2]
    except UserError as error:
        subject = f"{kind} file of {config.model.backbone}" if has_windows(config.model) else f"{kind} file"
        raise UserError(f"a {subject} is for one size: give --size HEIGHT WIDTH ({error})") from error
    return height, width


def _top1_scorer(images: Source, config: Config, device: torch.device) -> Scorer:
    """Return the scorer on images that are labelled as a whole."""

    def top1(logits_of: LogitsOf, stride: int) -> float:
        class_ids, counts = best_first(logits_of), TopCounts(device)
        batches = progress(whole_images(config, images, device), "scoring")
        count_batches(lambda batch: Prediction(class_ids(batch)), batches, [counts], device)
        return counts.scores(images.classes.names).top1

    return Scorer(top1, len(images), "top-1")
