"""CamVid (Brostow et al., 2009): 11 classes, as the SegNet authors prepared it or as it was published.

SegNet layout, 360x480::

    root/{train,val,test}/*, root/{train,val,test}annot/*.png (ids 0..11, 11 is void), and optional root/{split}.txt

The originals, 720x960; ``*_L.png`` hold the labels as 32 RGB colours::

    root/701_StillsRaw_full/*.png, root/LabeledApproved_full/*_L.png

Scores under different protocols don't compare; ``classes.protocol`` names the one in force.
"""

from pathlib import Path

from segdla.data.archives import is_folder, is_regular
from segdla.data.labels import IGNORE_INDEX, Color, ColorEncoding, Encoding, IdEncoding
from segdla.data.pair_source import PairSource
from segdla.data.pairing import Naming, Pairing, pair_folders, read_list
from segdla.data.paths import composed, user_path
from segdla.data.source import Classes
from segdla.errors import UserError

# A class's name, its own colour, and those of the 32 original classes that the usual grouping adds to it.
_CLASSES = (
    ("Sky", (128, 128, 128), ()),
    ("Building", (128, 0, 0), ((0, 128, 64), (64, 192, 0), (64, 0, 64), (192, 0, 128))),
    ("Pole", (192, 192, 128), ((0, 0, 64),)),
    ("Road", (128, 64, 128), ((128, 0, 192), (192, 0, 64))),
    ("Pavement", (0, 0, 192), ((64, 192, 128), (128, 128, 192))),
    ("Tree", (128, 128, 0), ((192, 192, 0),)),
    ("SignSymbol", (192, 128, 128), ((128, 128, 64), (0, 64, 64))),
    ("Fence", (64, 64, 128), ()),
    ("Car", (64, 0, 128), ((64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64))),
    ("Pedestrian", (64, 64, 0), ((192, 128, 64), (64, 0, 192), (64, 128, 64))),
    ("Bicyclist", (0, 128, 192), ((192, 0, 192),)),
)
_FRAMES_PER_SECOND = 30
_NAMES = tuple(name for name, _, _ in _CLASSES)
_PALETTE = tuple(color for _, color, _ in _CLASSES)
_PROTOCOLS = {
    "segnet": "CamVid 11 classes, SegNet labels",
    "grouped": "CamVid 11 classes, 32 colours grouped",
    "native": "CamVid 11 classes, own colours only",
}


def camvid(root: str | Path, split: str, protocol: str = "segnet") -> PairSource:
    """Open one split (train, val, test) of CamVid under one of the protocols segnet, grouped and native.

    Raises UserError if files are missing.
    """
    root = user_path(root)
    if not is_folder(root):
        raise UserError(f"no CamVid at data.root={root}; give the folder that holds train/ and trainannot/")
    encode: Encoding
    if protocol == "segnet":
        void = {len(_NAMES): IGNORE_INDEX, IGNORE_INDEX: IGNORE_INDEX}
        encode = IdEncoding({i: i for i in range(len(_NAMES))} | void)
        pairing = _segnet_pairs(root, split)
    else:
        encode = ColorEncoding(_train_ids(is_grouped=protocol == "grouped"))
        pairing = _original_pairs(root, split)
    classes = Classes(_NAMES, _PALETTE, _PROTOCOLS[protocol])
    return CamVid(pairing.pairs, classes, encode, pairing.problems, pairing.unused)


class CamVid(PairSource):
    """Frames of a few drives, one a second."""

    def group(self, index: int) -> str:
        """Return a name for ten seconds of a drive: within them, errors are alike.

        The compact network's mIoU on the test images is sure to 1.8 points if all frames count as independent, and to
        2.6 to 3.3 by groups of four to ten.
        """
        stem = self.pairs[index][0].stem
        number = _frame_number(stem)
        return stem if number is None else f"{stem.rpartition('_')[0]} {number // (10 * _FRAMES_PER_SECOND)}"


def _frame_number(stem: str) -> int | None:
    """Return the frame's number in its drive; None if it is not named as CamVid's images are."""
    digits = stem.rpartition("_")[2].removeprefix("f")
    return int(digits) if digits.isdecimal() else None


def _train_ids(*, is_grouped: bool) -> dict[Color, int]:
    return {
        color: train_id
        for train_id, (_, own, grouped) in enumerate(_CLASSES)
        for color in ((own, *grouped) if is_grouped else (own,))
    }


def _original_pairs(root: Path, split: str) -> Pairing:
    return pair_folders(
        root / "701_StillsRaw_full",
        root / "LabeledApproved_full",
        Naming(mask_suffix="_L"),
        keep=lambda stem: _split(stem) == split,
    )


def _segnet_pairs(root: Path, split: str) -> Pairing:
    if not is_folder(root / split) and is_folder(root / "701_StillsRaw_full"):
        raise UserError(f"{root} holds CamVid's originals; set data.protocol to grouped or native")
    pairing = pair_folders(root / split, root / f"{split}annot")
    if not is_regular(root / f"{split}.txt"):
        return pairing
    # The published lists name PNGs in a folder of their author's, so only the stems count.
    by_stem = {composed(image.stem): (image, mask) for image, mask in pairing.pairs}
    stems = [composed(Path(image).stem) for image, _ in read_list(root / f"{split}.txt")]
    missing = [stem for stem in stems if stem not in by_stem]
    if missing:
        raise UserError(f"{root / split} lacks {missing[0]} (and {len(missing) - 1} more), listed in {split}.txt")
    return Pairing([by_stem[stem] for stem in stems], pairing.problems, pairing.unused)


def _split(stem: str) -> str:
    """Return the SegNet authors' split for a frame: their lists follow sequence and frame number.

    Raises UserError if the name has no frame number.
    """
    sequence, number = stem.rpartition("_")[0], _frame_number(stem)
    if number is None:
        raise UserError(f"{stem} is not named as CamVid's images are, like 0001TP_006690; rename or remove it")
    if sequence == "Seq05VD" or (sequence == "0001TP" and number >= 8550):
        return "test"
    return "val" if sequence == "0016E5" and 7959 <= number <= 8159 else "train"
