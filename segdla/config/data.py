"""The config's ``data`` section, in one variant for each data set."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from segdla.config.section import MOST_PIXELS, Byte, Fraction, Magnification, PathText, Section, Size
from segdla.errors import one_line, quoted

Color = tuple[Byte, Byte, Byte]
Sample = Annotated[int, Field(ge=0, le=65535)]
LabelId = Annotated[int, Field(ge=0, le=65535)]
NumScenes = Annotated[int, Field(gt=0, le=1_000_000)]
SceneSide = Annotated[int, Field(ge=32, le=MOST_PIXELS)]


def _require_two(classes: tuple[str, ...]) -> tuple[str, ...]:
    if len(classes) < 2:
        name = one_line(classes[0], 60) if classes else "NAME"
        raise ValueError(
            f"{len(classes)} of at least two; name what is around the objects too: say classes: [background, {name}]"
        )
    return classes


ClassNames = Annotated[tuple[str, ...], AfterValidator(_require_two), Field(min_length=2, max_length=254)]


def require_json(transforms: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments of transforms. Raises ValueError if JSON can't hold them."""
    try:
        json.dumps(transforms, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        raise ValueError("arguments are finite numbers, true, false, null, text, lists and mappings") from None
    return transforms


class AugmentConfig(Section):
    """Random changes of the training images. Validation and test images are never changed."""

    scale: tuple[Magnification, Magnification] = (0.5, 2.0)
    """Smallest and largest magnification of an image before it is cropped."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest rotation to either side, in degrees."""
    flip: Fraction = 0.5
    """Probability of a left-right flip."""
    jitter: Fraction = 0.4
    """Largest relative change of brightness, contrast and saturation; 0.4 gives factors from 0.6 to 1.4."""
    balance: Fraction = 0.0
    """Share of crops that are centred on a pixel of a random class, each class of the image being as likely as any
    other. Rare classes are seen more often."""
    paste: Fraction = 0.0
    """Share of crops over which half of the classes of another crop are pasted (ClassMix)."""
    transforms: Annotated[tuple[dict[str, dict[str, Any] | None], ...], AfterValidator(require_json)] = ()
    """Albumentations by name, applied to the crop in this order: [{GaussianBlur: {p: 0.2}}]."""

    @model_validator(mode="after")
    def _require_order(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale goes from small to large, not from {self.scale[0]} to {self.scale[1]}")
        return self


class DataConfig(Section):
    """Keys of every data set. `data.dataset` chooses the data set, and with it which other keys there are."""

    crop: Size = (512, 512)
    """Size of a training crop in pixels: [height, width]."""
    workers: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Number of loader processes; null is one for each processor, at most 8."""
    unreadable: Literal["stop", "skip"] = "stop"
    """Where a training image or mask can't be read: stop and name it, or say so and train on the next one instead."""


class MasksConfig(DataConfig):
    """Keys of every data set with masks: all but `image_folder` and `images`."""

    augment: AugmentConfig = AugmentConfig()
    """Random changes of the training images."""
    unlabelled: PathText | None = None
    """Folder or archive of images without masks, which join the training images. train.teacher says what is in them;
    without one, the moving average of the weights (train.ema) does."""
    confidence: Fraction = 0.9
    """Probability from which an answer of the moving average is taken as the label of a pixel of `unlabelled`."""


class ScenesConfig(MasksConfig):
    """Street scenes that the package draws itself. They need no files."""

    dataset: Literal["scenes"]
    """Chooses this data set."""
    size: tuple[SceneSide, SceneSide] = (192, 256)
    """Size of a scene in pixels: [height, width]."""
    train: NumScenes = 400
    """Number of scenes to train on."""
    val: NumScenes = 60
    """Number of scenes to validate on."""
    test: NumScenes = 60
    """Number of scenes to test on."""


class FilesConfig(MasksConfig):
    """Keys of every data set of image and mask files: all but `scenes`, `image_folder` and `images`."""

    cache: Literal["none", "ram", "disk"] = "none"
    """Decode each file once and keep its bytes: in memory while training lasts, or on disk for later runs too."""
    cache_folder: PathText | None = None
    """Folder of the cache on disk; null is segdla/ in the user's cache folder."""
    train_on_val: bool = False
    """Train on the validation images too, for a last model that test images are to judge. Scores on the validation
    images then say nothing, so the last weights are kept instead of the best ones."""


class CamVidConfig(FilesConfig):
    """CamVid: 11 classes of street scenes."""

    dataset: Literal["camvid"]
    """Chooses this data set."""
    root: PathText
    """Folder of the data set: of train/ and trainannot/ (segnet), or of 701_StillsRaw_full/ and LabeledApproved_full/
    (grouped, native)."""
    protocol: Literal["segnet", "grouped", "native"] = "segnet"
    """Which of three incompatible sets of 11 classes is used; scores don't compare across them. segnet: 360x480 images
    with the SegNet authors' labels. grouped: 720x960 originals, their 32 colours grouped into 11 classes. native:
    720x960 originals, the 11 classes' own colours, all others ignored."""


class CityscapesConfig(FilesConfig):
    """Cityscapes: 19 classes of street scenes."""

    dataset: Literal["cityscapes"]
    """Chooses this data set."""
    root: PathText | None = None
    """Folder that holds leftImg8bit/ and gtFine/; null is the environment variable CITYSCAPES_DATASET."""
    coarse: bool = False
    """Train on the coarse labels of train_extra too (leftImg8bit/train_extra and gtCoarse/)."""


class FolderSplit(Section):
    """The files of one split: two folders whose files pair by name, or a list of pairs. Paths are relative to root."""

    images: PathText | None = None
    """Folder of images; folders inside it are searched too."""
    masks: PathText | None = None
    """Folder of masks; folders inside it are searched too."""
    image_prefix: PathText = ""
    """Beginning of an image's name before the part that it shares with its mask. Files without it are left out."""
    mask_prefix: PathText = ""
    """The same for masks: mask_ in mask_0001.png."""
    image_suffix: PathText = ""
    """End of an image's name after the part that it shares with its mask; with a dot it includes the extension. Files
    without it are left out."""
    mask_suffix: PathText = ""
    """The same for masks: _L in 0001_L.png."""
    list: PathText | None = None
    """Text file with an image and a mask on each line, instead of two folders."""

    @model_validator(mode="after")
    def _require_one_way(self) -> Self:
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
    """Chooses this data set."""
    root: PathText = "."
    """Folder or archive (ZIP, tar) that the splits' paths are relative to."""
    classes: ClassNames
    """Names of the classes. A name's position is its id in the masks, unless label_map says otherwise."""
    colors: tuple[Color, ...] | None = None
    """One RGB colour for each class. Masks that have these colours are read by them, be they RGB, palette images or
    greys, and predictions are drawn in them. If null, or all grey, predictions are drawn in colours that are easy to
    tell apart."""
    label_map: dict[LabelId, str] | None = None
    """Ids in the masks and the classes they stand for; several ids may share a class: {0: ground, 255: car}."""
    ignore: tuple[LabelId, ...] | None = None
    """Ids in the masks that are neither trained on nor scored; null is 255, unless that is a class."""
    ignore_colors: tuple[Color, ...] = ()
    """Colours in colour masks that are neither trained on nor scored."""
    sample_range: tuple[Sample, Sample] | None = None
    """Samples that are black and white in images of more than 8 bits a sample; what lies beyond is black or white too.
    [0, 4095] is for 12 bits in files of 16; null is all of a file's bits. Prediction takes the same range."""
    train: FolderSplit
    """Files to train on."""
    val: FolderSplit
    """Files to validate on."""
    test: FolderSplit | None = None
    """Files to test on."""

    @model_validator(mode="after")
    def _require_consistency(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("two classes have one name; give each its own")
        strangers = sorted(set((self.label_map or {}).values()) - set(self.classes))
        if strangers:
            raise ValueError(
                f"label_map names {quoted(strangers[0])}, which is none of the classes {quoted(list(self.classes))}"
            )
        ids = range(len(self.classes)) if self.label_map is None else self.label_map.keys()
        if self.ignore is not None and set(self.ignore) & set(ids):
            class_ids, remedy = (
                (f"0 to {len(ids) - 1}", "classes, and say which ids are left: label_map: {1: NAME, ...}")
                if self.label_map is None
                else (f"label_map: {quoted(sorted(ids))}", "label_map")
            )
            raise ValueError(
                f"ignore {quoted(list(self.ignore))} holds the id of a class ({class_ids}); take that out of {remedy}"
            )
        if self.colors is not None and len(self.colors) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes but {len(self.colors)} colors: give one colour a class")
        if self.ignore_colors and self.colors is None:
            raise ValueError("ignore_colors is for masks of colours: give the classes' colors too")
        colors = (*(self.colors or ()), *self.ignore_colors)
        if self.sample_range and self.sample_range[0] >= self.sample_range[1]:
            raise ValueError(f"sample_range goes from black to white, as [0, 4095], not {list(self.sample_range)}")
        if len(set(colors)) < len(colors):
            raise ValueError("a colour is given twice in colors and ignore_colors; give each class its own")
        return self
