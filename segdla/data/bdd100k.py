"""BDD100K's semantic segmentation (Yu et al., CVPR 2020): Cityscapes' 19 classes, in the official layout.

root/images/10k/{train,val}/*.jpg
root/labels/sem_seg/masks/{train,val}/*.png    (train ids; 255 is unknown, which is ignored)
"""

from pathlib import Path

from segdla.data import cityscapes
from segdla.data.labels import IGNORE_INDEX, IdEncoding
from segdla.data.pair_source import PairSource
from segdla.data.paths import user_path
from segdla.data.released import no_public_labels, released_pairs
from segdla.data.source import Classes

_DOWNLOAD = "download '10K Images' and 'Segmentation' of BDD100K, and name the folder bdd100k that both unpack into"
_CITYSCAPES = cityscapes.CLASSES
CLASSES = Classes(_CITYSCAPES.names, _CITYSCAPES.palette, "BDD100K 19 classes", _CITYSCAPES.categories)
_ENCODE = IdEncoding({i: i for i in range(len(CLASSES))} | {IGNORE_INDEX: IGNORE_INDEX})


def bdd100k(root: str | Path, split: str) -> PairSource:
    """Open one split (train, val). Raises UserError if something is missing, and says what to download."""
    if split == "test":
        raise no_public_labels("BDD100K")
    root = user_path(root)
    pairing = released_pairs(root / "images/10k" / split, root / "labels/sem_seg/masks" / split, _DOWNLOAD)
    return PairSource(pairing.pairs, CLASSES, _ENCODE, pairing.problems, pairing.unused)
