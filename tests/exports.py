"""Exports of labelling tools, as the tests of their formats write them."""

import json
import zipfile

import numpy as np
from support import write

from segdla.data.annotations import annotations

SIZE = (6, 8)
BOX = [[1, 1], [5, 1], [5, 4], [1, 4]]  # covers rows 1 to 3, columns 1 to 4
BOX_PIXELS = np.pad(np.ones((3, 4), np.uint8), ((1, 2), (1, 3)))


def write_images(folder, *names, size=SIZE):
    for name in names:
        write(folder / name, np.zeros((*size, 3)))


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def zipped(folder, path):
    """Pack a folder into a ZIP archive, and return the archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


def targets(labels, form, names=("background", "car", "person"), background="background", **options):
    """Return the targets of all images by name, and check that nothing is wrong with them."""
    source = annotations(labels, form, names, background=background, **options)
    assert source.problems == []
    return {source.name(i): source.read(i)[1] for i in range(len(source))}
