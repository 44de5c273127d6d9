"""The formats of labels that are written. To add one, write a module like these, and give it a line in ``WRITTEN``."""

import difflib
from collections.abc import Mapping

from segdla.data.label_files import coco_file, cvat_file, labelme_files, mask_folder, voc_folder, yolo_files
from segdla.data.label_files.label_format import LabelFormat
from segdla.errors import UserError, quoted

WRITTEN: Mapping[str, LabelFormat] = {
    "coco": coco_file,
    "yolo": yolo_files,
    "labelme": labelme_files,
    "cvat": cvat_file,
    "voc": voc_folder,
    "masks": mask_folder,
}
"""Modules by the name of their format."""


def written_format(name: str) -> LabelFormat:
    """Return the module of a format. Raises UserError, with the nearest names, if there is none."""
    if name not in WRITTEN:
        near = difflib.get_close_matches(name.lower(), WRITTEN, 1, 0.5)
        guess = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"{quoted(name, 60)} is no format that is written; {guess}choose one of {', '.join(WRITTEN)}")
    return WRITTEN[name]
