"""From the config to sources, and from sources to the samples and batches that training and evaluation read.

To add a data set, describe its section in config/public_sets.py, and add it to ``PublicConfig`` there. Then write a
function that opens one split, and give it a line in ``DATASETS``.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from segdla.config import (
    AnnotationsConfig,
    CamVidConfig,
    CityscapesConfig,
    Config,
    FilesConfig,
    FolderConfig,
    ScenesConfig,
    WholeImagesConfig,
)
from segdla.data.ade20k import ade20k
from segdla.data.annotations import annotations
from segdla.data.bdd100k import bdd100k
from segdla.data.cache import CachedSource, ram_folder
from segdla.data.camvid import camvid
from segdla.data.cityscapes import cityscapes
from segdla.data.coco_stuff import coco_stuff
from segdla.data.folder import folder as folder_source
from segdla.data.kitti import kitti
from segdla.data.loader import WholeImages
from segdla.data.mapillary import mapillary
from segdla.data.pairing import Naming
from segdla.data.paste import Paste
from segdla.data.samples import SegmentationDataset, Transform
from segdla.data.scenes import Scenes
from segdla.data.source import Source
from segdla.data.transforms import TrainingTransform
from segdla.data.voc2012 import voc2012
from segdla.data.whole_images.from_config import evaluation_crop, open_image_folder, open_images, random_crop
from segdla.errors import UserError
from segdla.machine import distributed
from segdla.machine.cache_folder import cache_folder
from segdla.machine.shared_memory import require_locks
from segdla.machine.terminal import progress, say
from segdla.machine.threads import usable_processors

_MOST_WORKERS = 8
_STAND_INS = 16  # unreadable samples in a row after which the data set, not a sample, is at fault


def _scenes(data: ScenesConfig, split: str) -> Source:
    return Scenes(split, getattr(data, split), data.size)


def _camvid(data: CamVidConfig, split: str) -> Source:
    return camvid(data.root, split, data.protocol)


def _cityscapes(data: CityscapesConfig, split: str) -> Source:
    return cityscapes(data.root, split, data.coarse)


def _folder(data: FolderConfig, split: str) -> Source:
    files = getattr(data, split)
    if files is None:
        raise UserError(f"the config has no data.{split}; add its images and masks")
    return folder_source(
        data.root,
        data.classes,
        images=files.images,
        masks=files.masks,
        naming=Naming(files.image_prefix, files.mask_prefix, files.image_suffix, files.mask_suffix),
        list_file=files.list,
        colors=data.colors,
        label_map=data.label_map,
        ignore=data.ignore,
        ignore_colors=data.ignore_colors,
        sample_range=data.sample_range,
    )


def _annotations(data: AnnotationsConfig, split: str) -> Source:
    files = getattr(data, split)
    if files is None:
        raise UserError(f"the config has no data.{split}; add its subset or list")
    return annotations(
        files.labels or data.labels,
        data.format,
        data.classes,
        images=files.images or data.images,
        background=data.background,
        ignore=data.ignore,
        label_map=data.label_map,
        smaller_on_top=None if data.overlap is None else data.overlap == "smaller",
        overlapping=data.overlapping,
        colors=data.colors,
        subset=files.subset,
        list_file=files.list,
        sample_range=data.sample_range,
    )


DATASETS: dict[str, Callable[[Any, str], Source]] = {
    "scenes": _scenes,
    "camvid": _camvid,
    "cityscapes": _cityscapes,
    "ade20k": lambda data, split: ade20k(data.root, split),
    "voc2012": lambda data, split: voc2012(data.root, split, data.sbd),
    "mapillary": lambda data, split: mapillary(data.root, split, data.version),
    "bdd100k": lambda data, split: bdd100k(data.root, split),
    "coco_stuff": lambda data, split: coco_stuff(data.root, split),
    "kitti": lambda data, split: kitti(data.root, split),
    "folder": _folder,
    "annotations": _annotations,
    "image_folder": open_image_folder,
    "images": open_images,
}
"""Functions of the config's data section and a split (train, val, test), by ``data.dataset``."""


def open_split(config: Config, split: str) -> Source:
    """Open one split (train, val, test) of the config's data set; train holds val too if the config says so.

    Raises UserError if the split is empty, or an image does not have exactly one mask.
    """
    source = DATASETS[config.data.dataset](config.data, split)
    if source.problems:
        raise UserError(_first_of(source.problems))
    if not len(source):
        raise UserError(f"the {split} split of {config.data.dataset} is empty; check data.root and its lists")
    if split == "train" and config.trains_on_val:
        return source.joined(open_split(config, "val"))
    return source


def every_split(config: Config) -> dict[str, Source | UserError]:
    """Open all splits of the data set: each is a source with its problems, or the error that opening it raised."""
    splits: dict[str, Source | UserError] = {}
    for split in ("train", "val", "test"):
        if getattr(config.data, split, True) is None:
            continue
        try:
            source = DATASETS[config.data.dataset](config.data, split)
            is_empty = not len(source) and not source.problems
            splits[split] = UserError(f"the {split} split is empty") if is_empty else source
        except UserError as error:
            if split != "test" or hasattr(config.data, split):  # a published set may lack its test split
                splits[split] = error
    return splits


def cached(config: Config, source: Source, split: str) -> Source:
    """Return the source behind a cache, which is built first, if the config asks for one and it is read from files.

    Raises UserError if a pair can't be read or there is no room.
    """
    data = config.data
    if not isinstance(data, FilesConfig) or data.cache == "none" or not source.cache_key(0):
        return source
    folder = _cache_folder(data, source)
    cache = CachedSource(source, folder)
    errors = cache.build(
        partial(progress, description=f"decoding {split} into the cache"),
        lambda: say(f"waiting for another process, which builds the cache in {folder}"),
    )
    if errors:
        raise UserError(_first_of([str(error) for error in errors]))
    return cache


def _cache_folder(data: FilesConfig, source: Source) -> Path:
    if data.cache == "disk":
        return Path(data.cache_folder).expanduser() if data.cache_folder else cache_folder()
    try:
        return ram_folder(source)
    except OSError as error:
        raise UserError(f"no place in memory for the cache ({error}); set data.cache=disk") from error


def _first_of(problems: Sequence[str]) -> str:
    more = f" (and {len(problems) - 1} more: segdla check CONFIG lists them)" if len(problems) > 1 else ""
    return problems[0] + more


def training_transform(config: Config, num_values: int) -> Transform:
    """Return the augmentation of training samples, whose labels have ``num_values`` values.

    Raises UserError if one of ``data.augment.transforms`` is wrong.
    """
    if isinstance(config.data, WholeImagesConfig):
        return random_crop(config.data)
    augment = config.data.augment
    return TrainingTransform(
        config.data.crop,
        augment.scale,
        augment.rotate,
        augment.flip,
        augment.jitter,
        augment.balance,
        augment.transforms,
        num_values,
    )


def training_samples(config: Config, source: Source, transform: Transform) -> SegmentationDataset:
    """Return the training split's augmented samples, behind its cache if the config asks for one.

    Raises UserError if a pair can't be read or a transform can't be applied.
    """
    may_skip = config.data.unreadable == "skip"
    paste = 0.0 if isinstance(config.data, WholeImagesConfig) else config.data.augment.paste
    if may_skip and isinstance(config.data, FilesConfig) and config.data.cache != "none" and distributed.is_main():
        say("data.unreadable is skip, so training reads the files themselves: data.cache is for validation")
    dataset = SegmentationDataset(
        source if may_skip else cached(config, source, "train"),
        transform,
        config.train.seed,
        _STAND_INS if may_skip else 0,
        Paste(paste) if paste else None,
    )
    first = dataset[0, 0]
    if isinstance(first, UserError):
        raise first
    return dataset


def whole_images(config: Config, source: Source, device: torch.device) -> WholeImages:
    """Return a source's whole images in batches, dealt out to all processes, as evaluation reads them."""
    return WholeImages(
        SegmentationDataset(source, evaluation_crop(config)),
        config.eval.batch_size,
        num_workers(config),
        device.type == "cuda",
        distributed.rank(),
        distributed.world_size(),
    )


def num_workers(config: Config) -> int:
    """Return the number of loader processes: the config's, or one a processor up to 8.

    Raises UserError if this machine has no room for their locks.
    """
    workers = min(_MOST_WORKERS, usable_processors()) if config.data.workers is None else config.data.workers
    if workers:
        require_locks(workers)
    return workers
