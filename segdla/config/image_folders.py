"""The sections ``data`` of images without masks: labelled as a whole, for classification, or not at all."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from segdla.config.data import DataConfig, require_json
from segdla.config.section import Fraction, PathText, PositiveFraction, Section, Side, Size

MixParameter = Annotated[float, Field(ge=0, le=100)]
AspectRatio = Annotated[float, Field(ge=0.01, le=100)]


class WholeImageAugmentConfig(Section):
    """Random changes of the training images of `image_folder` and `images`. Validation images are never changed."""

    area: tuple[PositiveFraction, PositiveFraction] = (0.08, 1.0)
    """Smallest and largest share of an image's area that is cut out and scaled to data.crop."""
    ratio: tuple[AspectRatio, AspectRatio] = (0.75, 1.3333333333333333)
    """Smallest and largest ratio of the width to the height of what is cut out."""
    flip: Fraction = 0.5
    """Probability of a left-right flip."""
    mixup: MixParameter = 0.0
    """Average each image, and its label, with another of the batch (mixup). Parameter of the Beta distribution from
    which their shares are drawn: 0.2 is usual, 0 leaves it out."""
    cutmix: MixParameter = 0.0
    """Put a rectangle of another image of the batch over each (cutmix), and average the labels by area. Parameter of
    the Beta distribution of the area: 1 is usual, 0 leaves it out. With mixup too, each batch takes one of the two."""
    jitter: Fraction = 0.4
    """Largest relative change of brightness, contrast and saturation; 0.4 gives factors from 0.6 to 1.4."""
    transforms: Annotated[tuple[dict[str, dict[str, Any] | None], ...], AfterValidator(require_json)] = ()
    """Albumentations by name, applied to the crop in this order: [{GaussianBlur: {p: 0.2}}]."""

    @model_validator(mode="after")
    def _require_order(self) -> Self:
        for key in ("area", "ratio"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key} goes from small to large, not from {low} to {high}")
        return self


class WholeImagesConfig(DataConfig):
    """Keys of `image_folder` and `images`."""

    crop: Size = (224, 224)
    """Size of the images that the network sees, in training and evaluation: [height, width]."""
    resize: Side = 256
    """Length to which the shorter side of an image is scaled in evaluation, before crop is cut out of its centre."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How images are scaled in evaluation."""
    augment: WholeImageAugmentConfig = WholeImageAugmentConfig()
    """Random changes of the training images."""

    @model_validator(mode="after")
    def _require_a_crop_inside(self) -> Self:
        if max(self.crop) > self.resize:
            raise ValueError(
                f"crop {list(self.crop)} is larger than the shorter side of an image in evaluation, {self.resize}; "
                "raise resize, or lower crop"
            )
        return self


class ImagesConfig(WholeImagesConfig):
    """Images without any label, from which a backbone learns the features of train.teacher."""

    dataset: Literal["images"]
    """Chooses this data set."""
    images: PathText
    """Folder or archive of images; folders inside it are searched too."""
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Share of the images to validate on, evenly spaced among them: one at least."""

    @model_validator(mode="after")
    def _require_no_mixture(self) -> Self:
        for key in ("mixup", "cutmix"):
            if value := getattr(self.augment, key):
                raise ValueError(
                    f"augment.{key} {value:g} mixes labels, which images have none of; leave it out, or choose "
                    "dataset: image_folder"
                )
        return self


class ImageFolderConfig(WholeImagesConfig):
    """Images in a folder for each class, of which each has one label as a whole: a network is pretrained on them."""

    dataset: Literal["image_folder"]
    """Chooses this data set."""
    root: PathText
    """Folder that holds the folders of the splits."""
    train: PathText = "train"
    """Folder of class folders to train on, from root: train/tabby/any_name.jpg. Folders inside them are searched too.
    The classes are their names, in alphabetical order."""
    val: PathText = "val"
    """Folder of the same class folders, to validate on."""
    test: PathText | None = None
    """Folder of the same class folders, to test on."""
