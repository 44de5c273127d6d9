"""Images without masks, which a teacher or the network's own average tells the classes of."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segdla.data.images import image_size, read_image
from segdla.data.labels import UNLABELLED
from segdla.data.listing import list_images
from segdla.data.pair_source import unique_names
from segdla.data.paths import user_path
from segdla.data.source import Classes, Source, UnreadableImageError
from segdla.data.subset import SourceView
from segdla.data.wide_samples import SampleRange
from segdla.errors import UserError
from segdla.machine.remote.storage_errors import StorageError


class UnlabelledImages(Source):
    """Image files, all of whose pixels have one train id: ``UNLABELLED``, or IGNORE_INDEX where nobody labels them."""

    labelled = False

    def __init__(
        self,
        images: Sequence[Path],
        classes: Classes,
        sample_range: SampleRange | None = None,
        train_id: int = UNLABELLED,
    ):
        self.images = list(images)
        self.classes = classes
        self.sample_range = sample_range
        self.train_id = train_id
        self.names = unique_names(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f"unlabelled/{self.names[index]}"  # no labelled image is called so

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read an image; see ``Source.read``. Raises UnreadableImageError."""
        try:
            image = read_image(self.images[index], self.sample_range)
        except StorageError:
            raise
        except UserError as error:
            raise UnreadableImageError(str(error)) from error
        return image, np.full(image.shape[:2], self.train_id, np.uint8)

    def target(self, index: int) -> np.ndarray:
        return np.full(self.image_size(index), self.train_id, np.uint8)

    def files(self, index: int) -> tuple[Path, ...]:
        return (self.images[index],)

    def image_size(self, index: int) -> tuple[int, int]:
        return image_size(self.images[index])

    def cache_key(self, index: int) -> str:
        sample_range = "" if self.sample_range is None else f" {self.sample_range}"
        return f"{self.images[index].absolute()}\nall {self.train_id}{sample_range}"


def unlabelled_images(
    folder: str,
    classes: Classes,
    labelled: Sequence[Source] = (),
    sample_range: SampleRange | None = None,
    train_id: int = UNLABELLED,
) -> UnlabelledImages:
    """Return the images in a folder and below it. Raises UserError if there are none, or masks of ``labelled``."""
    images = list_images(user_path(folder), key="data.unlabelled")
    masks = {path.absolute() for source in labelled for i in range(len(source)) for path in source.files(i)[1:]}
    mask = next((path for path in images if path.absolute() in masks), None)
    if mask is not None:
        raise UserError(f"{mask} is a mask, and data.unlabelled is a folder of images alone; name one without masks")
    return UnlabelledImages(images, classes, sample_range, train_id)


class WithUnlabelled(SourceView):
    """A source, and after its own images those of another, which have no labels.

    Its own come ``repeats`` times, so that about every second image of an epoch is labelled.
    """

    def __init__(self, source: Source, unlabelled: Source):
        super().__init__(source)
        self.parts = source, unlabelled
        self.repeats = max(1, round(len(unlabelled) / len(source)))

    def at(self, index: int) -> tuple[Source, int]:
        """Return the source of an image, and its index there."""
        labelled, unlabelled = self.parts
        beyond = index - self.repeats * len(labelled)
        return (labelled, index % len(labelled)) if beyond < 0 else (unlabelled, beyond)

    def __len__(self) -> int:
        labelled, unlabelled = self.parts
        return self.repeats * len(labelled) + len(unlabelled)

    def labelled_once(self) -> range:
        return range(len(self.parts[0]))
