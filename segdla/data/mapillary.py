"""Mapillary Vistas (Neuhold et al., ICCV 2017), versions 1.2 and 2.0, in the official layout.

    root/config_v1.2.json, root/config_v2.0.json
    root/{training,validation}/images/*.jpg
    root/{training,validation}/{v1.2,v2.0}/labels/*.png    (positions in the config's list of labels)

Names, colours and what is evaluated come from the set's own config; labels that are not evaluated are ignored.
"""

import json
from pathlib import Path

from segdla.data.archives import read_text
from segdla.data.labels import IGNORE_INDEX, Color, IdEncoding
from segdla.data.pair_source import PairSource
from segdla.data.paths import user_path
from segdla.data.released import no_public_labels, released_pairs
from segdla.data.source import Classes
from segdla.errors import UserError

_DOWNLOAD = "unpack Mapillary Vistas there, of version 2.0, which holds the labels of 1.2 too"
_FOLDERS = {"train": "training", "val": "validation"}


def mapillary(root: str | Path, split: str, version: str = "v1.2") -> PairSource:
    """Open one split (train, val) with the labels of a version: v1.2 or v2.0.

    Raises UserError if something is missing, and says what to download.
    """
    if split not in _FOLDERS:
        raise no_public_labels("Mapillary Vistas")
    root = user_path(root)
    folder = root / _FOLDERS[split]
    pairing = released_pairs(folder / "images", folder / version / "labels", _DOWNLOAD)
    classes, encode = _labels(root / f"config_{version}.json", version)
    return PairSource(pairing.pairs, classes, encode, pairing.problems, pairing.unused)


def _labels(path: Path, version: str) -> tuple[Classes, IdEncoding]:
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', error)}; {_DOWNLOAD}") from error
    try:
        labels = json.loads(text)["labels"]
        readable = [str(label["readable"]) for label in labels]
        names = [
            name if readable.count(name) == 1 else str(label["name"])
            for name, label in zip(readable, labels, strict=True)
        ]
        colors: list[Color] = [(red, green, blue) for red, green, blue in (label["color"] for label in labels)]
        evaluated = [i for i, label in enumerate(labels) if label["evaluate"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not the list of labels that comes with the set ({error!r}); {_DOWNLOAD}") from error
    train_ids = dict.fromkeys(range(len(labels)), IGNORE_INDEX) | {label: i for i, label in enumerate(evaluated)}
    protocol = f"Mapillary Vistas {version}, {len(evaluated)} classes"
    classes = Classes(tuple(names[i] for i in evaluated), tuple(colors[i] for i in evaluated), protocol)
    return classes, IdEncoding(train_ids)
