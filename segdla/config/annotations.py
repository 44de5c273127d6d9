"""The section ``data`` of labels that a labelling tool has exported."""

from typing import Literal, Self

from pydantic import model_validator

from segdla.config.data import ClassNames, Color, FilesConfig, Sample
from segdla.config.section import PathText, Section
from segdla.errors import quoted


class AnnotationSplit(Section):
    """The images of one split: all that are labelled, or those of a subset or a list."""

    subset: str | None = None
    """Name that the format gives to the split: train, val, test, or another of Pascal VOC's and CVAT's."""
    list: PathText | None = None
    """Text file with the name of an image on each line."""
    labels: PathText | None = None
    """Labels of this split, if they are apart from the others'; null is data.labels."""
    images: PathText | None = None
    """Images of this split, if they are apart from the others'; null is data.images."""


class AnnotationsConfig(FilesConfig):
    """Labels as a labelling tool exports them: polygons and masks in one of several formats."""

    dataset: Literal["annotations"]
    """Chooses this data set."""
    format: Literal[
        "coco",
        "coco_panoptic",
        "yolo",
        "labelme",
        "voc",
        "cvat",
        "roboflow",
        "label_studio",
        "supervisely",
        "binary_masks",
    ]
    """Format of the labels; segdla check --labels finds out which it is."""
    labels: PathText
    """File, folder or archive (ZIP, tar) of the labels, read in place."""
    images: PathText | None = None
    """Folder or archive of the images; null is where the labels are."""
    classes: ClassNames
    """Names of the classes, as the labels have them."""
    background: str | None = None
    """The class of pixels that have no label. If null, they are neither trained on nor scored."""
    label_map: dict[str, str] | None = None
    """Other labels and the classes they stand for; several may share a class: {van: car, lorry: car}."""
    ignore: tuple[str, ...] = ()
    """Labels of pixels that are neither trained on nor scored."""
    overlap: Literal["last", "smaller", "keep"] | None = None
    """Which of two shapes a pixel in both belongs to: the one drawn last, or the smaller one. null is last where the
    format keeps the order of drawing, and else smaller. keep, for model.head sigmoid and two to seven classes: it is of
    both their classes, and a pixel without a label is of none."""
    colors: tuple[Color, ...] | None = None
    """One RGB colour for each class, to draw predictions in. null is the format's colours, or colours that are easy to
    tell apart."""
    sample_range: tuple[Sample, Sample] | None = None
    """As for a folder data set."""
    train: AnnotationSplit
    """Images to train on."""
    val: AnnotationSplit
    """Images to validate on."""
    test: AnnotationSplit | None = None
    """Images to test on."""

    @property
    def overlapping(self) -> bool:
        """True if a pixel may be of several classes."""
        return self.overlap == "keep"

    @model_validator(mode="after")
    def _require_consistency(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("two classes have one name; give each its own")
        for key, names in (("background", [self.background]), ("label_map", (self.label_map or {}).values())):
            strangers = sorted({name for name in names if name is not None} - set(self.classes))
            if strangers:
                raise ValueError(
                    f"{key} names {quoted(strangers[0])}, which is none of the classes {quoted(list(self.classes))}"
                )
        if twice := sorted(set(self.ignore) & {*self.classes, *(self.label_map or {})}):
            raise ValueError(
                f"ignore names {quoted(twice[0])}, which is a class or in label_map; leave it in one place"
            )
        if self.overlapping and self.background is not None:
            raise ValueError("with overlap: keep a pixel without a label is of no class; leave background out")
        if self.colors is not None and len(self.colors) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes but {len(self.colors)} colors: give one colour a class")
        if self.sample_range and self.sample_range[0] >= self.sample_range[1]:
            raise ValueError(f"sample_range goes from black to white, as [0, 4095], not {list(self.sample_range)}")
        return self
