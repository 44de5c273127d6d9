"""Predictions for the Cityscapes server: a zip of label-id PNGs, one for each image, checked before it gets its name.

Until all are there they lie in a folder beside it, OUT.zip.parts, from which an interrupted run resumes.
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

from segdla.data.cityscapes import CLASSES, LABEL_ID_OF
from segdla.data.image_writer import write_image
from segdla.data.source import Source
from segdla.errors import UserError
from segdla.machine.files import partial_path, put_in_place, write_text

_KNOWN = np.isin(np.arange(256), LABEL_ID_OF[LABEL_ID_OF > 0])
_TRAIN_ID_OF = np.zeros(256, np.uint8)
_TRAIN_ID_OF[LABEL_ID_OF[: len(CLASSES)]] = np.arange(len(CLASSES))
_MAKER = "made_by.json"


class Submission:
    """A zip at ``path`` with predictions for all images of ``source``.

    The checkpoint ``weights`` and ``options`` (scales, ...) are the predictions' maker; those of two makers don't mix.
    Raises UserError if the zip exists, or was begun by another maker.
    """

    def __init__(self, path: Path, source: Source, weights: Path, options: Mapping[str, Any]):
        if path.suffix != ".zip":
            raise UserError(f"--submission {path}: the server takes a .zip")
        if path.exists():
            raise UserError(f"{path} exists; remove it, or name another --submission")
        self.path = path
        self.parts = path.with_name(f"{path.name}.parts")
        self.images = {source.name(i): source.files(i)[0] for i in range(len(source))}
        if len(self.images) < len(source):
            raise UserError("two images have one name, and so would their predictions; remove one")
        with weights.open("rb") as file:
            maker = {**options, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
        maker = json.loads(json.dumps(maker))  # tuples are lists in JSON
        if not (self.parts / _MAKER).exists():
            write_text(self.parts / _MAKER, json.dumps(maker, indent=2))
        if _read_json(self.parts / _MAKER) != maker:
            raise UserError(
                f"{self.parts} was begun with another checkpoint or other options ({_MAKER} there tells which); "
                "go on with those, or remove it"
            )

    def done(self) -> set[str]:
        """Return the names of the images whose predictions are there and valid."""
        return {
            name
            for name, image in self.images.items()
            if self._part(name).is_file() and problem(self._part(name).read_bytes(), image) is None
        }

    def prediction(self, name: str) -> np.ndarray:
        """Return one image's train ids (H,W) uint8, if it is among those that are done."""
        mask = _decoded(self._part(name).read_bytes())
        assert mask is not None, f"{name} is not among those that are done"
        return _TRAIN_ID_OF[mask]

    def write(self, name: str, prediction: np.ndarray) -> None:
        """Write one image's train ids (H,W) uint8."""
        write_image(self._part(name), LABEL_ID_OF[prediction])

    def finish(self) -> None:
        """Zip all predictions, check the zip and give it its name. Raises UserError if something is amiss."""
        unfinished = partial_path(self.path)
        try:
            with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:  # PNGs are compressed already
                for name in self.images:
                    if self._part(name).is_file():
                        archive.write(self._part(name), f"{name}.png")
            check(unfinished, self.images)
            put_in_place(unfinished, self.path)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}; make room, and call again") from error
        finally:
            unfinished.unlink(missing_ok=True)
        shutil.rmtree(self.parts)

    def _part(self, name: str) -> Path:
        return self.parts / f"{name}.png"


def check(path: Path, images: Mapping[str, Path]) -> None:
    """Check that a zip holds one valid prediction NAME.png for each image, by name. Raises UserError if it does not."""
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
    """Return what is wrong with the PNG of an image's prediction; None if nothing is."""
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
