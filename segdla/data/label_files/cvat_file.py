"""CVAT for images 1.1, written: one annotations.xml, a polygon a region; __ignore__ is the label of what is ignored."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from segdla.data.annotations.pascal_voc import VOID
from segdla.data.annotations.unlabelled import IGNORED
from segdla.data.label_files.label_format import Files
from segdla.data.label_files.labelled import Labelled, Style, numbers, require_image_name, require_names
from segdla.data.label_files.shares import share_of, shared_images
from segdla.data.source import Classes

IMAGES = "images"
KEEPS_IGNORED = True
IS_FLAT = False
_NO_XML = r"[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # nor tabs and line breaks, which XML alters
_START = b"<image "


def require_fit(classes: Classes) -> None:
    """Raise UserError if a name of a class can't be written."""
    require_names(classes.names, _NO_XML, "CVAT's XML")


def part(name: str) -> str:
    """Return the file that an image's share is kept in, beside the whole."""
    return share_of(name, ".xml")


def content(labelled: Labelled, style: Style, file: Path) -> bytes:
    """Return the element of an image, without its number. Raises UserError if XML can't hold its name."""
    height, width = labelled.class_ids.shape
    require_image_name(labelled.name, _NO_XML, "CVAT's XML")
    subset = {"subset": labelled.split} if labelled.split else {}  # as in CVAT's exports of tasks
    image = ET.Element("image", {"name": labelled.name, **subset, "width": str(width), "height": str(height)})
    for region in style.regions(labelled.class_ids):
        points = ";".join(f"{x},{y}" for x, y in zip(*[iter(numbers(region.joined))] * 2, strict=True))
        attributes = {
            "label": style.name(region.class_id),
            "source": "auto" if style.by_network else "file",
            "occluded": "0",
            "points": points,
            "z_order": "0",
        }
        polygon = ET.SubElement(image, "polygon", attributes)
        for name, value in labelled.attributes_of(region).items():
            ET.SubElement(polygon, "attribute", {"name": name}).text = str(value)
    return ET.tostring(image, "utf-8")


def written(folder: Path) -> list[str]:
    """Return the names of the images that have been written."""
    return shared_images(folder, ".xml")


def whole(folder: Path, names: Mapping[str, Sequence[str]], style: Style) -> Files:
    """Return annotations.xml, from the shares of the images, which are not in memory all at once."""

    def write(file: BinaryIO) -> None:
        labels = ET.tostring(_meta(style), "utf-8")
        file.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n' + labels + b"\n")
        for number, name in enumerate(name for images in names.values() for name in images):
            share = (folder / part(name)).read_bytes()
            file.write(b'%sid="%d" %s\n' % (_START, number, share[share.index(_START) + len(_START) :]))
        file.write(b"</annotations>\n")

    yield "annotations.xml", write


def _meta(style: Style) -> ET.Element:
    meta = ET.Element("meta")
    labels = ET.SubElement(ET.SubElement(meta, "task"), "labels")
    ignored = [] if style.by_network else [(IGNORED, VOID)]
    for name, color in [*zip(style.classes.names, style.classes.palette, strict=True), *ignored]:
        label = ET.SubElement(labels, "label")
        ET.SubElement(label, "name").text = name
        ET.SubElement(label, "color").text = "#" + bytes(color).hex()
        ET.SubElement(label, "type").text = "any"
        attributes = ET.SubElement(label, "attributes")
        for attribute in style.attributes:
            values = {"name": attribute, "mutable": "False", "input_type": "text", "default_value": "", "values": ""}
            entry = ET.SubElement(attributes, "attribute")
            for key, value in values.items():
                ET.SubElement(entry, key).text = value
    return meta
