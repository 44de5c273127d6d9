"""Pascal VOC 2012 (Everingham et al., IJCV 2015): 21 classes, in the official layout; with SBD's masks for train.

    root/JPEGImages/*.jpg
    root/SegmentationClass/*.png            (255 is void, which is ignored)
    root/ImageSets/Segmentation/{train,val}.txt
    sbd/{train,val}.txt, sbd/cls/*.mat      (the Semantic Boundaries Dataset; Hariharan et al., ICCV 2011)

With SBD, all images of it and of VOC's train that are not in VOC's val are trained on: 10,582, known as trainaug. Those
of VOC's train keep VOC's masks.
"""

import io
import zlib
from pathlib import Path

import numpy as np

from segdla.data.annotations.pascal_voc import CHALLENGE_CLASSES, voc_color
from segdla.data.archives import is_regular
from segdla.data.image_header import read_content
from segdla.data.labels import IGNORE_INDEX, IdEncoding
from segdla.data.pair_source import PairSource
from segdla.data.paths import user_path
from segdla.data.released import no_public_labels, released_list, require_folders
from segdla.data.source import Classes, UnreadableMaskError
from segdla.data.stored_mask import StoredMask

_DOWNLOAD = "download VOCtrainval_11-May-2012.tar, and name the folder VOCdevkit/VOC2012 in it"
_SBD = "download benchmark.tgz of SBD, and name the folder benchmark_RELEASE/dataset in it (data.sbd)"
_PALETTE = tuple(voc_color(i) for i in range(len(CHALLENGE_CLASSES)))
_ENCODE = IdEncoding({i: i for i in range(len(CHALLENGE_CLASSES))} | {IGNORE_INDEX: IGNORE_INDEX})


class VOC2012(PairSource):
    """Masks are PNGs, or MATLAB files as SBD has them."""

    def _mask(self, index: int) -> StoredMask:
        path = self.pairs[index][1]
        return StoredMask(_read_sbd(path)) if path.suffix == ".mat" else super()._mask(index)


def voc2012(root: str | Path, split: str, sbd: str | Path | None = None) -> VOC2012:
    """Open one split (train, val); with ``sbd``, SBD's folder ``dataset``, train is trainaug.

    Raises UserError if something is missing, and says what to download.
    """
    if split == "test":
        raise no_public_labels("Pascal VOC 2012")
    root = user_path(root)
    lists, own = root / "ImageSets" / "Segmentation", root / "SegmentationClass"
    require_folders([root / "JPEGImages", own], _DOWNLOAD)
    masks = {name: own / f"{name}.png" for name in released_list(lists / f"{split}.txt", _DOWNLOAD)}
    protocol = "Pascal VOC 2012, 21 classes"
    if sbd is not None:
        sbd = user_path(sbd)
        protocol += ", train and SBD"
        if split == "train":
            require_folders([sbd / "cls"], _SBD)
            val = set(released_list(lists / "val.txt", _DOWNLOAD))
            more = [*released_list(sbd / "train.txt", _SBD), *released_list(sbd / "val.txt", _SBD)]
            masks = {name: sbd / "cls" / f"{name}.mat" for name in more if name not in val} | masks
    pairs = [(root / "JPEGImages" / f"{name}.jpg", mask) for name, mask in sorted(masks.items())]
    missing = {file for pair in pairs for file in pair if not is_regular(file)}
    problems = [f"no file {file}; {_SBD if file.suffix == '.mat' else _DOWNLOAD}" for file in sorted(missing)]
    classes = Classes(CHALLENGE_CLASSES, _PALETTE, protocol)
    return VOC2012([pair for pair in pairs if missing.isdisjoint(pair)], classes, _ENCODE, problems)


def _read_sbd(path: Path) -> np.ndarray:
    """Return the ids (H,W) uint8 in a file of SBD's. Raises UnreadableMaskError if it is none."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        ids = loadmat(io.BytesIO(read_content(path)))["GTcls"]["Segmentation"][0, 0]
        return np.ascontiguousarray(ids, np.uint8)
    except (MatReadError, zlib.error, ValueError, LookupError, TypeError, OSError, NotImplementedError) as error:
        raise UnreadableMaskError(f"{path} is no mask of SBD that can be read ({error}); {_SBD}") from error
