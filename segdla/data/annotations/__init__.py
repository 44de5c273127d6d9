"""Labels as people have them: polygons and masks that a labelling tool has exported, read in place.

A format is a module of ``label_formats.py``'s list. It turns its files into a ``LabelExport``: entries of images, whose
shapes ``rasterize.py`` draws by one rule when ``AnnotationSource`` reads them.
"""

from segdla.data.annotations import binary_masks
from segdla.data.annotations.annotation_source import AnnotationSource, Item, Rules
from segdla.data.annotations.label_formats import UnknownFormatError
from segdla.data.annotations.open_annotations import annotations, open_export, recognise

__all__ = [
    "AnnotationSource",
    "Item",
    "Rules",
    "UnknownFormatError",
    "annotations",
    "binary_masks",
    "open_export",
    "recognise",
]
