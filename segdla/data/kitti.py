"""KITTI's semantic segmentation (Abu Alhaija et al., IJCV 2018): 200 images with Cityscapes' labels.

    root/training/image_2/*.png
    root/training/semantic/*.png    (Cityscapes' label ids)

There is no official split: every fifth image in the order of names, the fifth first, is to validate on.
"""

from pathlib import Path

from segdla.data import cityscapes
from segdla.data.pair_source import PairSource
from segdla.data.paths import user_path
from segdla.data.released import no_public_labels, released_pairs
from segdla.data.source import Classes

_DOWNLOAD = "download data_semantics.zip of KITTI's semantic segmentation, and name the folder that it unpacks into"
_EVERY = 5
_CITYSCAPES = cityscapes.CLASSES
CLASSES = Classes(
    _CITYSCAPES.names, _CITYSCAPES.palette, "KITTI 19 classes, every fifth image to validate", _CITYSCAPES.categories
)


def kitti(root: str | Path, split: str) -> PairSource:
    """Open one split (train, val). Raises UserError if something is missing, and says what to download."""
    if split == "test":
        raise no_public_labels("KITTI")
    root = user_path(root)
    pairing = released_pairs(root / "training/image_2", root / "training/semantic", _DOWNLOAD)
    pairs = [pair for i, pair in enumerate(sorted(pairing.pairs)) if (i % _EVERY == _EVERY - 1) == (split == "val")]
    return PairSource(pairs, CLASSES, cityscapes.LABEL_IDS, pairing.problems, pairing.unused)
