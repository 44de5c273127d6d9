"""Predictions as the Cityscapes server takes them: a zip of label-id PNGs, one an image, checked before it is there.

Until all are made they lie in a folder beside it, OUT.zip.parts, from which a run that was cut short goes on.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from segdla.data.cityscapes import CLASSES, LABEL_ID_OF, Cityscapes
from segdla.errors import UserError
from segdla.visualize import write_image

_KNOWN = np.isin(np.arange(256), LABEL_ID_OF[LABEL_ID_OF > 0])
_TRAIN_ID_OF = np.zeros(256, np.uint8)
_TRAIN_ID_OF[LABEL_ID_OF[: len(CLASSES)]] = np.arange(len(CLASSES))
_MADE_BY = "made_by.json"


class Submission:
    """The zip at ``path`` of predictions for all images of ``source``.

    ``weights`` is the checkpoint that makes them, ``options`` (scales, ...) how: predictions of two makers don't mix.
    Raises UserError where the zip is there, or was begun by another maker.
    """

    def __init__(self, path: Path, source: Cityscapes, weights: Path, options: Mapping[str, Any]):
        if path.suffix != ".zip":
            raise UserError(f"--submission {path}: the server takes a .zip")
        if path.exists():
            raise UserError(f"{path} exists; remove it, or name another --submission")
        self.path = path
        self.parts = path.with_name(f"{path.name}.parts")
        self.images = {source.name(i): image for i, (image, _) in enumerate(source.pairs)}
        if len(self.images) < len(source):
            raise UserError("two images have one name, and so would their predictions; remove one")
        with weights.open("rb") as file:
            made_by = {**options, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
        made_by = json.loads(json.dumps(made_by))  # tuples are lists there
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
            if not (self.parts / _MADE_BY).exists():
                (self.parts / _MADE_BY).write_text(json.dumps(made_by, indent=2), encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write {self.parts}: {error.strerror}; name another --submission") from error
        if _read_json(self.parts / _MADE_BY) != made_by:
            raise UserError(
                f"{self.parts} was begun with another checkpoint or other options ({_MADE_BY} there tells which); "
                "go on with those, or remove it"
            )

    def done(self) -> set[str]:
        """The names of the images whose predictions are there, and are right."""
        return {
            name
            for name, image in self.images.items()
            if self._part(name).is_file() and problem(self._part(name).read_bytes(), image) is None
        }

    def prediction(self, name: str) -> np.ndarray:
        """One image's train ids (H,W) uint8, of those that are done."""
        return _TRAIN_ID_OF[_decoded(self._part(name).read_bytes())]

    def write(self, name: str, prediction: np.ndarray) -> None:
        """Take one image's train ids (H,W) uint8."""
        unfinished = self.parts / f"{name}.partial.png"
        write_image(unfinished, LABEL_ID_OF[prediction])
        unfinished.replace(self._part(name))

    def finish(self) -> None:
        """Zip, check and put in its place what has been written; raises UserError where anything is amiss."""
        unfinished = self.path.with_name(f"{self.path.name}.partial")
        try:
            with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:  # PNGs are compressed already
                for name in self.images:
                    if self._part(name).is_file():
                        archive.write(self._part(name), f"{name}.png")
            check(unfinished, self.images)
            unfinished.replace(self.path)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}; make room, and call again") from error
        finally:
            unfinished.unlink(missing_ok=True)
        shutil.rmtree(self.parts)

    def _part(self, name: str) -> Path:
        return self.parts / f"{name}.png"


def check(path: Path, images: Mapping[str, Path]) -> None:
    """Whether a zip holds one good prediction NAME.png for each image by name; raises UserError where it does not."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        expected = [f"{name}.png" for name in images]
        odd = sorted(set(expected) ^ set(names))
        if odd or len(names) != len(expected):
            which = f", such as {odd[0]}" if odd else ""
            raise UserError(f"{path} holds {len(names)} predictions for {len(expected)} images{which}")
        for name, image in images.items():
            wrong = problem(archive.read(f"{name}.png"), image)
            if wrong:
                raise UserError(f"{path}: {name}.png {wrong}")


def _decoded(content: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def problem(content: bytes, image: Path) -> str | None:
    """What is wrong with a prediction's PNG for an image; None where nothing is."""
    mask = _decoded(content) if content else None
    if mask is None:
        return "is not an image that can be decoded"
    if mask.ndim != 2 or mask.dtype != np.uint8:
        return "is not a single-channel, 8-bit image"
    with Image.open(image) as opened:  # reads the header alone
        width, height = opened.size
    if mask.shape != (height, width):
        return f"is {mask.shape[0]}x{mask.shape[1]} (height x width), but {image} is {height}x{width}"
    unknown = np.flatnonzero(np.bincount(mask.ravel(), minlength=256).astype(bool) & ~_KNOWN)
    return f"holds {unknown[0]}, which is no label id of an evaluated class" if len(unknown) else None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
