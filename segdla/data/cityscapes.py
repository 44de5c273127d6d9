"""Cityscapes (Cordts et al., CVPR 2016): 19 classes, in the official layout.

    root/leftImg8bit/{train,val,test,train_extra}/CITY/*_leftImg8bit.png
    root/gtFine/{train,val}/CITY/*_gtFine_labelIds.png          (or *_gtFine_labelTrainIds.png, where only those are)
    root/gtCoarse/train_extra/CITY/*_gtCoarse_labelIds.png      (only for training on the coarse labels too)

Label ids, train ids, names, colours and categories are cityscapesscripts'.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import labels

from segdla.data.dataset import IGNORE_INDEX, Classes, PairSource
from segdla.data.images import read_image
from segdla.data.labels import IdEncoding
from segdla.errors import UserError

_SITE = "of www.cityscapes-dataset.com there"
_FINE = f"unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip {_SITE}"
_COARSE = f"unpack leftImg8bit_trainextra.zip and gtCoarse.zip {_SITE}"
_EVALUATED = sorted((label for label in labels if not label.ignoreInEval), key=lambda label: label.trainId)
CLASSES = Classes(
    tuple(label.name for label in _EVALUATED),
    tuple(label.color for label in _EVALUATED),
    "Cityscapes 19 classes",
    tuple(label.category for label in _EVALUATED),
)
_LABEL_IDS = IdEncoding(
    {label.id: IGNORE_INDEX if label.ignoreInEval else label.trainId for label in labels if label.id >= 0}
)
_TRAIN_IDS = IdEncoding({**{i: i for i in range(len(_EVALUATED))}, IGNORE_INDEX: IGNORE_INDEX})

LABEL_ID_OF = np.zeros(256, np.uint8)
"""Label id by train id: what the evaluator and the server take. 0, unlabeled, for what is no class."""
LABEL_ID_OF[: len(_EVALUATED)] = [label.id for label in _EVALUATED]


class Cityscapes(PairSource):
    """Images and masks of one split; ``labelled`` False: the truth is not public, and all pixels are ignored."""

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path]],
        encode: Callable[[np.ndarray, Path], np.ndarray] = _LABEL_IDS,
        labelled: bool = True,
    ):
        super().__init__(pairs, CLASSES, encode)
        self.labelled = labelled

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self.labelled:
            return super().read(index)
        image = read_image(self.pairs[index][0])
        return image, np.full(image.shape[:2], IGNORE_INDEX, np.uint8)

    def without(self, names: set[str]) -> "Cityscapes":
        """The images of any other name."""
        kept = [pair for i, pair in enumerate(self.pairs) if self.name(i) not in names]
        return Cityscapes(kept, self.encode, self.labelled)

    def joined(self, other: PairSource) -> "Cityscapes":
        return Cityscapes(super().joined(other).pairs, self.encode, self.labelled)

    @property
    def label_files(self) -> list[Path] | None:
        """The masks of label ids, which the official evaluator reads; None where there are none."""
        return [mask for _, mask in self.pairs] if self.labelled and self.encode is _LABEL_IDS else None


def cityscapes(root: str | Path | None, split: str, coarse: bool = False) -> Cityscapes:
    """One split of Cityscapes; ``root`` None is the environment variable CITYSCAPES_DATASET.

    ``coarse`` adds the coarsely labelled images of train_extra to the split train. Raises UserError where something is
    missing, with what to download.
    """
    root = root or os.environ.get("CITYSCAPES_DATASET")
    if not root:
        raise UserError("where is Cityscapes? set data.root or the environment variable CITYSCAPES_DATASET")
    root = Path(root)
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
    """The masks of images, as label ids or, where only those are, as train ids."""
    split = images[0].parts[-3]
    stems = [root / kind / split / p.parent.name / p.name.removesuffix("_leftImg8bit.png") for p in images]
    for ids, encode in (("labelIds", _LABEL_IDS), ("labelTrainIds", _TRAIN_IDS)):
        masks = [stem.with_name(f"{stem.name}_{kind}_{ids}.png") for stem in stems]
        missing = [mask for mask in masks if not mask.is_file()]
        if not missing:
            return masks, encode
        if len(missing) < len(masks):
            raise UserError(f"{len(missing)} of {len(masks)} masks are missing, such as {missing[0]}; {download}")
    raise UserError(f"no masks {root / kind / split}/CITY/*_{kind}_labelIds.png; {download}")
