"""What can be set of the data: one section a data set."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from segdla.config.section import Byte, Fraction, Section, Size

Color = tuple[Byte, Byte, Byte]
LabelId = Annotated[int, Field(ge=0, le=65535)]


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
    paste: Fraction = 0.0
    """Share of crops over which half of the classes of another crop are pasted (ClassMix)."""
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


class FilesConfig(DataConfig):
    """Images and masks in files."""

    cache: Literal["none", "ram", "disk"] = "none"
    """Decode each file once, and keep the bytes in memory while training, or on a disk for the next time too."""
    cache_folder: str | None = None
    """Of the disk's cache; null: segdla/ in the user's cache folder."""
    train_on_val: bool = False
    """Train on the validation images too: a last model, for test images to judge. Scores on val then say nothing, and
    the last weights are kept in place of those best on val."""


class CamVidConfig(FilesConfig):
    dataset: Literal["camvid"]
    root: str
    protocol: Literal["segnet", "grouped", "native"] = "segnet"
    """segnet: 360x480 with label ids 0..11, void 11; the 960x720 originals' 32 colours grouped into the 11 classes
    (grouped), or only the 11 classes' own colours, all else ignored (native). Scores don't compare across them."""


class CityscapesConfig(FilesConfig):
    dataset: Literal["cityscapes"]
    root: str | None = None
    """The folder of leftImg8bit/ and gtFine/; null: the environment variable CITYSCAPES_DATASET."""
    coarse: bool = False
    """Train on train_extra's coarse labels too (leftImg8bit/train_extra, gtCoarse)."""


class FolderSplit(Section):
    """Two directories, searched through, whose files pair by name; or a list file with an image and a mask a line."""

    images: str | None = None
    masks: str | None = None
    image_prefix: str = ""
    mask_prefix: str = ""
    """What comes before the common part of the names, as mask_ in mask_0001.png. Files without it are left out."""
    image_suffix: str = ""
    mask_suffix: str = ""
    """What follows it, as _L in 0001_L.png; with a dot, extension included. Files without it are left out."""
    list: str | None = None

    @model_validator(mode="after")
    def _one_way(self):
        if (self.list is None) == (self.images is None or self.masks is None):
            raise ValueError("give either images and masks (two directories) or list (a file)")
        if self.list is not None and (beside := [name for name, value in self if value and name != "list"]):
            raise ValueError(f"{beside[0]} is of directories, and list names the files itself; leave one of them out")
        images = self.images, self.image_prefix, self.image_suffix
        if self.images is not None and images == (self.masks, self.mask_prefix, self.mask_suffix):
            raise ValueError("images and masks are the same files; give other directories, or suffixes that differ")
        return self


class FolderConfig(FilesConfig):
    """Your own images, with masks whose pixels are class ids or colours."""

    dataset: Literal["folder"]
    root: str = "."
    """What the splits' paths are relative to."""
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=254)]
    """Names; the position is the id in the masks, unless label_map says otherwise."""
    colors: tuple[Color, ...] | None = None
    """One RGB colour a class: what colour masks are read by, and what predictions are drawn in. For null and for
    greys, these are distinct ones."""
    label_map: dict[LabelId, str] | None = None
    """Ids in the masks to the classes they stand for, several to one where wanted: {0: ground, 255: car}."""
    ignore: tuple[LabelId, ...] | None = None
    """Ids in the masks that are neither trained on nor scored; null: 255, where it is no class."""
    ignore_colors: tuple[Color, ...] = ()
    """The same, of colour masks."""
    train: FolderSplit
    val: FolderSplit
    test: FolderSplit | None = None

    @model_validator(mode="after")
    def _told_apart(self):
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("two classes have one name; give each its own")
        strangers = sorted(set((self.label_map or {}).values()) - set(self.classes))
        if strangers:
            raise ValueError(f"label_map names {strangers[0]!r}, which is none of the classes {list(self.classes)}")
        ids = range(len(self.classes)) if self.label_map is None else self.label_map.keys()
        if set(self.ignore or ()) & set(ids):
            ids, remedy = (
                (f"0 to {len(ids) - 1}", "classes, and say which ids are left: label_map: {1: NAME, ...}")
                if self.label_map is None
                else (f"label_map: {sorted(ids)}", "label_map")
            )
            raise ValueError(f"ignore {list(self.ignore)} holds the id of a class ({ids}); take that out of {remedy}")
        if self.colors is not None and len(self.colors) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes but {len(self.colors)} colors: give one colour a class")
        if self.ignore_colors and self.colors is None:
            raise ValueError("ignore_colors is for masks of colours: give the classes' colors too")
        colors = (*(self.colors or ()), *self.ignore_colors)
        if len(set(colors)) < len(colors):
            raise ValueError("a colour is given twice in colors and ignore_colors; give each class its own")
        return self
