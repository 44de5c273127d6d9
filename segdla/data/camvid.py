"""CamVid (Brostow et al., 2009): 11 classes, as the SegNet authors prepared it or as it was published.

SegNet layout, 360x480::

    root/{train,val,test}/*, root/{train,val,test}annot/*.png (ids 0..11, 11 is void), and optional root/{split}.txt

The originals, 720x960, ``*_L.png`` being the labels as 32 RGB colours::

    root/701_StillsRaw_full/*.png, root/LabeledApproved_full/*_L.png

Scores under different protocols don't compare; ``classes.protocol`` names the one in force.
"""

from pathlib import Path

from segdla.data.dataset import IGNORE_INDEX, Classes, PairSource
from segdla.data.labels import ColorEncoding, IdEncoding
from segdla.data.pairing import Naming, Pairing, pair_folders, read_list
from segdla.errors import UserError

# Name, own colour, and the colours of the 32 classes that the usual grouping adds to it.
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
_NAMES = tuple(name for name, _, _ in _CLASSES)
_PALETTE = tuple(color for _, color, _ in _CLASSES)
_PROTOCOLS = {
    "segnet": "CamVid 11 classes, SegNet labels",
    "grouped": "CamVid 11 classes, 32 colours grouped",
    "native": "CamVid 11 classes, own colours only",
}


def camvid(root: str | Path, split: str, protocol: str = "segnet") -> PairSource:
    """One split (train, val, test) of CamVid. Raises UserError where files are missing."""
    root = Path(root)
    classes = Classes(_NAMES, _PALETTE, _PROTOCOLS[protocol])
    if not root.is_dir():
        raise UserError(f"no CamVid at data.root={root}; give the folder that holds train/ and trainannot/")
    if protocol == "segnet":
        void = {len(_NAMES): IGNORE_INDEX, IGNORE_INDEX: IGNORE_INDEX}
        encode = IdEncoding({i: i for i in range(len(_NAMES))} | void)
        pairing = _segnet_pairs(root, split)
        return PairSource(pairing.pairs, classes, encode, pairing.problems, pairing.unused)
    colors = {}
    for train_id, (_, own, grouped) in enumerate(_CLASSES):
        for color in (own, *grouped) if protocol == "grouped" else (own,):
            colors[color] = train_id
    pairing = pair_folders(
        root / "701_StillsRaw_full",
        root / "LabeledApproved_full",
        Naming(mask_suffix="_L"),
        keep=lambda stem: _split(stem) == split,
    )
    return PairSource(pairing.pairs, classes, ColorEncoding(colors), pairing.problems, pairing.unused)


def _segnet_pairs(root: Path, split: str) -> Pairing:
    if not (root / split).is_dir() and (root / "701_StillsRaw_full").is_dir():
        raise UserError(f"{root} holds CamVid's originals; set data.protocol to grouped or native")
    pairing = pair_folders(root / split, root / f"{split}annot")
    if not (root / f"{split}.txt").is_file():
        return pairing
    # The published lists name PNGs below a folder of their author's, so only the stems are taken.
    by_stem = {image.stem: (image, mask) for image, mask in pairing.pairs}
    stems = [Path(image).stem for image, _ in read_list(root / f"{split}.txt")]
    missing = [stem for stem in stems if stem not in by_stem]
    if missing:
        raise UserError(f"{root / split} lacks {missing[0]} (and {len(missing) - 1} more), listed in {split}.txt")
    return Pairing([by_stem[stem] for stem in stems], pairing.problems, pairing.unused)


def _split(stem: str) -> str:
    """The SegNet authors' split of the 701 frames, told from the name: its lists follow sequence and frame number."""
    sequence, _, frame = stem.rpartition("_")
    if not frame.removeprefix("f").isdecimal():
        raise UserError(f"{stem} is not named as CamVid's images are, like 0001TP_006690; rename or remove it")
    number = int(frame.removeprefix("f"))
    if sequence == "Seq05VD" or (sequence == "0001TP" and number >= 8550):
        return "test"
    return "val" if sequence == "0016E5" and 7959 <= number <= 8159 else "train"
