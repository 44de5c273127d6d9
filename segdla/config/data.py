"""What can be set of the data: one section a data set."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from segdla.config.section import Byte, Fraction, Section, Size


class AugmentConfig(Section):
    scale: tuple[PositiveFloat, PositiveFloat] = (0.5, 2.0)
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest rotation, in degrees, either way."""
    flip: Fraction = 0.5
    """Probability of a left-right flip."""
    jitter: Fraction = 0.4
    """Largest relative change of brightness, contrast and saturation."""
    balance: Fraction = 0.0
    """Share of crops centred on a pixel of a class drawn evenly from those in the image: rare classes are seen more."""
    transforms: tuple[dict[str, dict[str, Any] | None], ...] = ()
    """Further albumentations by name, applied to the crop: [{GaussianBlur: {p: 0.2}}]."""

    @model_validator(mode="after")
    def _ordered(self):
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale goes from small to large, not from {self.scale[0]} to {self.scale[1]}")
        return self


class DataConfig(Section):
    crop: Size = (512, 512)
    """(height, width) of a training crop."""
    augment: AugmentConfig = AugmentConfig()
    workers: Annotated[int, Field(ge=0)] | None = None
    """Loader processes; null: as many as there are processors, 8 at most."""
    unreadable: Literal["stop", "skip"] = "stop"
    """A training image or mask that can't be read: stop, naming it, or take the next one in its place and say so."""


class ScenesConfig(DataConfig):
    """Street scenes, drawn: needs no files."""

    dataset: Literal["scenes"]
    size: tuple[Annotated[int, Field(ge=32)], Annotated[int, Field(ge=32)]] = (192, 256)
    train: PositiveInt = 400
    """How many scenes there are to train on, ..."""
    val: PositiveInt = 60
    test: PositiveInt = 60


class CamVidConfig(DataConfig):
    dataset: Literal["camvid"]
    root: str
    protocol: Literal["segnet", "grouped", "native"] = "segnet"
    """segnet: 360x480 with label ids 0..11, void 11; the 960x720 originals' 32 colours grouped into the 11 classes
    (grouped), or only the 11 classes' own colours, all else ignored (native). Scores don't compare across them."""


class CityscapesConfig(DataConfig):
    dataset: Literal["cityscapes"]
    root: str | None = None
    """The folder of leftImg8bit/ and gtFine/; null: the environment variable CITYSCAPES_DATASET."""
    coarse: bool = False
    """Train on train_extra's coarse labels too (leftImg8bit/train_extra, gtCoarse)."""


class FolderSplit(Section):
    """Two directories whose files pair by stem, or a list file with an image and a mask on each line."""

    images: str | None = None
    masks: str | None = None
    list: str | None = None

    @model_validator(mode="after")
    def _one_way(self):
        if (self.list is None) == (self.images is None or self.masks is None):
            raise ValueError("give either images and masks (two directories) or list (a file)")
        return self


class FolderConfig(DataConfig):
    """Your own images, and masks whose pixel values are class ids."""

    dataset: Literal["folder"]
    root: str = "."
    """What the splits' paths are relative to."""
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=254)]
    """Names; the position is the id in the masks."""
    colors: tuple[tuple[Byte, Byte, Byte], ...] | None = None
    """One RGB colour a class; null: a palette of distinct colours."""
    ignore: tuple[Byte, ...] = (255,)
    """Ids in the masks that are neither trained on nor scored."""
    train: FolderSplit
    val: FolderSplit
    test: FolderSplit | None = None

    @model_validator(mode="after")
    def _told_apart(self):
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("two classes have one name; give each its own")
        if set(self.ignore) & set(range(len(self.classes))):
            raise ValueError(f"ignore {list(self.ignore)} holds the id of a class (0 to {len(self.classes) - 1})")
        if self.colors is not None and len(self.colors) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes but {len(self.colors)} colors: give one colour a class")
        return self
