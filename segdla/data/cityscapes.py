"""Cityscapes (Cordts et al., CVPR 2016): 19 classes, in the official layout.

    root/leftImg8bit/{train,val,test}/CITY/*_leftImg8bit.png
    root/gtFine/{train,val,test}/CITY/*_gtFine_labelIds.png     (or *_gtFine_labelTrainIds.png, where only those are)

Label ids, train ids, names and colours are cityscapesscripts'.
"""

import os
from pathlib import Path

from cityscapesscripts.helpers.labels import labels

from segdla.data.dataset import IGNORE_INDEX, Classes, PairSource
from segdla.data.labels import IdEncoding
from segdla.errors import UserError

_DOWNLOAD = "unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of www.cityscapes-dataset.com there"
_EVALUATED = sorted((label for label in labels if not label.ignoreInEval), key=lambda label: label.trainId)
_CLASSES = Classes(
    tuple(label.name for label in _EVALUATED), tuple(label.color for label in _EVALUATED), "Cityscapes 19 classes"
)
_LABEL_IDS = IdEncoding(
    {label.id: IGNORE_INDEX if label.ignoreInEval else label.trainId for label in labels if label.id >= 0}
)
_TRAIN_IDS = IdEncoding({**{i: i for i in range(len(_EVALUATED))}, IGNORE_INDEX: IGNORE_INDEX})


def cityscapes(root: str | Path | None, split: str) -> PairSource:
    """One split of Cityscapes; ``root`` None is the environment variable CITYSCAPES_DATASET.

    Raises UserError where something is missing, with what to download.
    """
    root = root or os.environ.get("CITYSCAPES_DATASET")
    if not root:
        raise UserError("where is Cityscapes? set data.root or the environment variable CITYSCAPES_DATASET")
    folder = Path(root) / "leftImg8bit" / split
    images = sorted(folder.glob("*/*_leftImg8bit.png"))
    if not images:
        raise UserError(f"no images {folder}/CITY/*_leftImg8bit.png; {_DOWNLOAD}")
    stems = [Path(root) / "gtFine" / split / p.parent.name / p.name.removesuffix("_leftImg8bit.png") for p in images]
    for kind, encode in (("labelIds", _LABEL_IDS), ("labelTrainIds", _TRAIN_IDS)):
        masks = [stem.with_name(f"{stem.name}_gtFine_{kind}.png") for stem in stems]
        missing = [mask for mask in masks if not mask.is_file()]
        if not missing:
            return PairSource(list(zip(images, masks, strict=True)), _CLASSES, encode)
        if len(missing) < len(masks):
            raise UserError(f"{len(missing)} of {len(masks)} masks are missing, such as {missing[0]}; {_DOWNLOAD}")
    raise UserError(f"no masks {Path(root) / 'gtFine' / split}/CITY/*_gtFine_labelIds.png; {_DOWNLOAD}")
