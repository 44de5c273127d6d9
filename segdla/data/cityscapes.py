"""Cityscapes (Cordts et al., CVPR 2016): 19 classes, in the official layout.

    root/leftImg8bit/{train,val,test,train_extra}/CITY/*_leftImg8bit.png
    root/gtFine/{train,val}/CITY/*_gtFine_labelIds.png          (or *_gtFine_labelTrainIds.png, if there are no others)
    root/gtCoarse/train_extra/CITY/*_gtCoarse_labelIds.png      (only to train on the coarse labels too)

Label ids, train ids, names, colours and categories come from cityscapesscripts.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import labels

from segdla.data.images import read_stored_mask
from segdla.data.labels import IGNORE_INDEX, Encoding, IdEncoding
from segdla.data.pair_source import PairSource
from segdla.data.paths import user_path
from segdla.data.source import Classes
from segdla.errors import UserError

_SITE = "of www.cityscapes-dataset.com there"
_FINE = f"unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip {_SITE}"
_COARSE = f"unpack leftImg8bit_trainextra.zip and gtCoarse.zip {_SITE}"
_SCORED_LABELS = sorted((label for label in labels if not label.ignoreInEval), key=lambda label: label.trainId)
CLASSES = Classes(
    tuple(label.name for label in _SCORED_LABELS),
    tuple(label.color for label in _SCORED_LABELS),
    "Cityscapes 19 classes",
    tuple(label.category for label in _SCORED_LABELS),
)
LABEL_IDS = IdEncoding(
    {label.id: IGNORE_INDEX if label.ignoreInEval else label.trainId for label in labels if label.id >= 0}
)
_TRAIN_IDS = IdEncoding({**{i: i for i in range(len(_SCORED_LABELS))}, IGNORE_INDEX: IGNORE_INDEX})

LABEL_ID_OF = np.zeros(256, np.uint8)
"""Label id by train id, as the official evaluator and the server take them; 0, unlabeled, for all other ids."""
LABEL_ID_OF[: len(_SCORED_LABELS)] = [label.id for label in _SCORED_LABELS]


class Cityscapes(PairSource):
    """Images and masks of one split; if it is not ``labelled``, no mask is read and every pixel is ignored."""

    has_server = True

    def __init__(self, pairs: Sequence[tuple[Path, Path]], encode: Encoding = LABEL_IDS, labelled: bool = True):
        super().__init__(pairs, CLASSES, encode)
        self.labelled = labelled

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self.labelled:
            return super().read(index)
        image = self._image(index)
        return image, np.full(image.shape[:2], IGNORE_INDEX, np.uint8)

    def target(self, index: int) -> np.ndarray:
        return super().target(index) if self.labelled else self.read(index)[1]

    def objects(self, index: int) -> np.ndarray | None:
        """Return the ids of ``*_instanceIds.png``, from 1000 on, which a crowd does not have; None without the file."""
        mask = self.pairs[index][1]
        path = mask.with_name(mask.name.replace("labelTrainIds", "labelIds").replace("labelIds", "instanceIds"))
        if not self.labelled or not path.is_file():
            return None
        ids = read_stored_mask(path).samples.astype(np.int32)
        return np.where(ids >= 1000, ids, 0)

    def official_truths(self) -> Mapping[str, Path]:
        """Return the masks of label ids by name; empty if the truth is not public, or there are only train ids."""
        if not self.labelled or self.encode is not LABEL_IDS:
            return {}
        return {self.name(index): mask for index, (_, mask) in enumerate(self.pairs)}


def cityscapes(root: str | Path | None, split: str, coarse: bool = False) -> Cityscapes:
    """Open one split of Cityscapes; with ``root`` None, at the environment variable CITYSCAPES_DATASET.

    ``coarse`` adds the coarsely labelled images of train_extra to the split train.

    Raises UserError if something is missing, and says what to download.
    """
    root = root or os.environ.get("CITYSCAPES_DATASET")
    if not root:
        raise UserError("where is Cityscapes? set data.root or the environment variable CITYSCAPES_DATASET")
    root = user_path(root)
    images = _images(root, split, _FINE)
    if split == "test":
        return Cityscapes([(image, image) for image in images], labelled=False)
    masks, encode = _masks(root, "gtFine", images, _FINE)
    if coarse and split == "train":
        extra = _images(root, "train_extra", _COARSE)
        extra_masks, extra_encode = _masks(root, "gtCoarse", extra, _COARSE)
        if extra_encode is not encode:
            raise UserError(f"{root}: gtFine and gtCoarse hold different kinds of ids; {_COARSE}")
        images, masks = images + extra, masks + extra_masks
    return Cityscapes(list(zip(images, masks, strict=True)), encode)


def _images(root: Path, split: str, download: str) -> list[Path]:
    folder = root / "leftImg8bit" / split
    images = sorted(folder.glob("*/*_leftImg8bit.png"))
    if not images:
        raise UserError(f"no images {folder}/CITY/*_leftImg8bit.png; {download}")
    return images


def _masks(root: Path, kind: str, images: Sequence[Path], download: str) -> tuple[list[Path], IdEncoding]:
    """Return the masks of images: of label ids or, if there are no others, of train ids.

    Raises UserError if a mask is missing.
    """
    split = images[0].parts[-3]
    stems = [root / kind / split / p.parent.name / p.name.removesuffix("_leftImg8bit.png") for p in images]
    for ids, encode in (("labelIds", LABEL_IDS), ("labelTrainIds", _TRAIN_IDS)):
        masks = [stem.with_name(f"{stem.name}_{kind}_{ids}.png") for stem in stems]
        missing = [mask for mask in masks if not mask.is_file()]
        if not missing:
            return masks, encode
        if len(missing) < len(masks):
            raise UserError(f"{len(missing)} of {len(masks)} masks are missing, such as {missing[0]}; {download}")
    raise UserError(f"no masks {root / kind / split}/CITY/*_{kind}_labelIds.png; {download}")
