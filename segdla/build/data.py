"""From config to data sets."""

from functools import partial
from pathlib import Path

from segdla import distributed
from segdla.config import Config
from segdla.config import data as configs
from segdla.data.cache import CachedSource, disk_folder, ram_folder
from segdla.data.camvid import camvid
from segdla.data.cityscapes import cityscapes
from segdla.data.dataset import PairSource, SegmentationDataset, Source
from segdla.data.folder import folder
from segdla.data.pairing import Naming
from segdla.data.paste import Paste
from segdla.data.quick_check import quick_check
from segdla.data.scenes import Scenes
from segdla.data.transforms import TrainingTransform
from segdla.errors import UserError
from segdla.report import console, progress

_STAND_INS = 16  # unreadable samples in a row after which the data set, and not a sample, is what is wrong


def _scenes(data: configs.ScenesConfig, split: str) -> Source:
    return Scenes(split, getattr(data, split), data.size)


def _camvid(data: configs.CamVidConfig, split: str) -> Source:
    return camvid(data.root, split, data.protocol)


def _cityscapes(data: configs.CityscapesConfig, split: str) -> Source:
    return cityscapes(data.root, split, data.coarse)


def _folder(data: configs.FolderConfig, split: str) -> Source:
    files = getattr(data, split)
    if files is None:
        raise UserError(f"the config has no data.{split}; add its images and masks")
    return folder(
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
    )


DATASETS = {"scenes": _scenes, "camvid": _camvid, "cityscapes": _cityscapes, "folder": _folder}


def open_split(config: Config, split: str) -> Source:
    """One split (train, val, test) of the config's data set; the first with the second in it, if the config says so.

    Raises UserError where there is nothing in it, or an image has not exactly one mask.
    """
    found = DATASETS[config.data.dataset](config.data, split)
    problems = getattr(found, "problems", ())
    if problems:
        more = f" (and {len(problems) - 1} more: python tools/check_data.py CONFIG lists them)"
        raise UserError(problems[0] + (more if len(problems) > 1 else ""))
    if not len(found):
        raise UserError(f"the {split} split of {config.data.dataset} is empty; check data.root and its lists")
    if split == "train" and trains_on_val(config):
        return found.joined(open_split(config, "val"))
    return found


def trains_on_val(config: Config) -> bool:
    return getattr(config.data, "train_on_val", False)


def cached(config: Config, split_source: Source, split: str) -> Source:
    """The source through its cache, built first, if the config asks for one. Raises UserError, a pair's or of space."""
    if getattr(config.data, "cache", "none") == "none" or not isinstance(split_source, PairSource):
        return split_source
    if config.data.cache == "ram":
        try:
            folder = ram_folder(split_source)
        except OSError as error:
            raise UserError(f"no place in memory for the cache ({error}); set data.cache=disk") from error
    else:
        folder = Path(config.data.cache_folder).expanduser() if config.data.cache_folder else disk_folder()
    made = CachedSource(split_source, folder)
    errors = made.build(
        partial(progress, description=f"decoding {split} into the cache"),
        lambda: console.print(f"waiting for another process, which builds the cache in {folder}", soft_wrap=True),
    )
    if errors:
        more = f" (and {len(errors) - 1} more: python tools/check_data.py CONFIG lists them)" if errors[1:] else ""
        raise UserError(f"{errors[0]}{more}")
    return made


def every_split(config: Config) -> dict[str, Source | UserError]:
    """The data set's splits, as far as there are any: sources with their problems, or what kept them from being one."""
    found: dict[str, Source | UserError] = {}
    for split in ("train", "val", "test"):
        if getattr(config.data, split, True) is None:
            continue
        try:
            found[split] = DATASETS[config.data.dataset](config.data, split)
            if not len(found[split]) and not getattr(found[split], "problems", ()):
                found[split] = UserError(f"the {split} split is empty")
        except UserError as error:
            if split != "test" or hasattr(config.data, split):  # a published set may be there without its test split
                found[split] = error
    return found


def checked_splits(config: Config) -> tuple[Source, Source]:
    """What is trained and what is validated on. Raises UserError where either is wrong from the start."""
    training, validation = open_split(config, "train"), open_split(config, "val")
    for source in (validation,) if config.data.unreadable == "skip" else (training, validation):
        doubt = quick_check(source)
        if doubt and distributed.is_main():
            console.print(f"{doubt} (python tools/check_data.py CONFIG tells more)", soft_wrap=True)
    return training, validation


def datasets(config: Config, training: Source, validation: Source) -> tuple[SegmentationDataset, Source]:
    """The splits ready to be read: cached, and the one that is trained on augmented. Raises UserError, a pair's."""
    a, may_skip = config.data.augment, config.data.unreadable == "skip"
    transform = TrainingTransform(config.data.crop, a.scale, a.rotate, a.flip, a.jitter, a.balance, a.transforms)
    if may_skip and getattr(config.data, "cache", "none") != "none" and distributed.is_main():
        console.print("data.unreadable is skip, so training reads the files themselves: data.cache is for validation")
    scored = cached(config, validation, "val")  # the smaller one first: whether the other has room is known early
    kept = training if may_skip else cached(config, training, "train")
    dataset = SegmentationDataset(
        kept, transform, config.train.seed, _STAND_INS if may_skip else 0, Paste(a.paste) if a.paste else None
    )
    first = dataset[0, 0]
    if isinstance(first, UserError):
        raise first
    return dataset, scored
