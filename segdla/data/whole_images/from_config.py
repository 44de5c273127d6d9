"""From the config to images that are labelled as a whole, and to their crops."""

from segdla.config import Config, ImageFolderConfig, ImagesConfig, WholeImagesConfig
from segdla.data.samples import Transform
from segdla.data.source import Source
from segdla.data.whole_images.crops import CentreCrop, RandomResizedCrop
from segdla.data.whole_images.image_folder import LabelledImages, image_folder
from segdla.data.whole_images.without_labels import images_of
from segdla.errors import UserError


def open_image_folder(data: ImageFolderConfig, split: str) -> LabelledImages:
    """Open one split. Raises UserError if the config has none of that name, or there is something wrong with it."""
    folder = getattr(data, split)
    if folder is None:
        raise UserError(f"the config has no data.{split}; add its folder")
    return image_folder(data.root, folder, data.train)


def open_images(data: ImagesConfig, split: str) -> Source:
    """Open the images to train on, or those that are held out. Raises UserError if there are too few."""
    return images_of(data.images, split, data.held_out)


def random_crop(data: WholeImagesConfig) -> Transform:
    """Return the augmentation of training samples. Raises UserError if one of ``data.augment.transforms`` is wrong."""
    augment = data.augment
    return RandomResizedCrop(data.crop, augment.area, augment.ratio, augment.flip, augment.jitter, augment.transforms)


def evaluation_crop(config: Config) -> CentreCrop | None:
    """Return what evaluation and prediction see of an image that is labelled as a whole; None: all of it."""
    data = config.data
    return CentreCrop(data.crop, data.resize, data.interpolation) if isinstance(data, WholeImagesConfig) else None
