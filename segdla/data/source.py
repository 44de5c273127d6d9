"""A data set, as training, evaluation and the doctor see it.

``Source`` declares everything that a data set must provide, and shows how to write your own. Image and mask files are
one (``pair_source.py``), exports of labelling tools and drawn scenes are others.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segdla.data.labels import IGNORE_INDEX, UNLABELLED, Color
from segdla.data.wide_samples import SampleRange
from segdla.errors import UserError, in_shell

MOST_OVERLAPPING = 7  # the bits of a byte, but for one: all eight would be the ignored value
NO_LABEL = -1
"""The id of an image of no class: a byte's 255 may be a class, as ImageNet has a thousand."""


@dataclass(frozen=True)
class Classes:
    """Names and RGB colours by train id. Raises UserError if they are not equally many.

    ``protocol`` says which of a data set's incompatible label sets this is. ``categories`` gives each class its group,
    if the data set scores groups too.

    With ``overlapping`` a pixel may be of several classes, or of none. The values of targets and predictions are then
    sets: bit c says that class c is there, and IGNORE_INDEX, all bits, that nothing is known. A set fits into the byte
    that a train id takes, so caches, crops, workers and devices treat it as one. For that, at most seven classes may
    overlap.

    With ``whole_images`` an image is of one class as a whole. Its target is then a single pixel, (1,1) int16, of the
    class's id, or of ``NO_LABEL``; so networks give logits (B,C,1,1), and losses and counts need not know.
    """

    names: tuple[str, ...]
    palette: tuple[Color, ...]
    protocol: str = ""
    categories: tuple[str, ...] = ()
    overlapping: bool = False
    whole_images: bool = False

    def __post_init__(self) -> None:
        # A list would never equal the tuple in a checkpoint.
        for field in ("names", "palette", "categories"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if len(self.names) != len(self.palette):
            raise UserError(f"{len(self.names)} classes have {len(self.palette)} colours; give each class one colour")
        if self.overlapping and len(self) > MOST_OVERLAPPING:
            raise UserError(
                f"{len(self)} classes overlap (data.overlap: keep), and at most {MOST_OVERLAPPING} may; leave some out"
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def measure(self) -> str:
        """The name of the score by which weights are chosen."""
        if self.of_nothing:
            return "correlation"
        return "top-1" if self.whole_images else "mIoU"

    @property
    def of_nothing(self) -> bool:
        """True if images have no labels at all, and a teacher's features are all that is learned."""
        return self.whole_images and len(self) == 1

    def target_size(self, crop: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) of the target of a crop."""
        return (1, 1) if self.whole_images else crop

    @property
    def num_values(self) -> int:
        """The number of values that a labelled pixel may have: train ids or, of overlapping classes, sets."""
        return 1 << len(self) if self.overlapping else len(self)

    def members(self) -> np.ndarray:
        """Return which classes each value stands for, (num_values,C) int64 of 0 and 1."""
        if self.overlapping:
            return np.arange(self.num_values)[:, None] >> np.arange(len(self)) & 1
        return np.eye(len(self), dtype=np.int64)

    def pixels(self, counts: np.ndarray) -> np.ndarray:
        """Return the pixels (...,C) of each class from those of each value (...,256)."""
        return counts[..., : self.num_values] @ self.members()

    def drawn(self, values: np.ndarray) -> np.ndarray:
        """Return the train ids (H,W) to draw values in: of classes that overlap, the last in their list is on top."""
        if not self.overlapping:
            return values
        table = np.full(256, IGNORE_INDEX, np.uint8)
        table[: self.num_values] = [value.bit_length() - 1 if value else UNLABELLED for value in range(self.num_values)]
        return table[values]

    def require_some(self, path: Path) -> None:
        """Raise UserError if the network at ``path``, whose classes these are, knows none."""
        if self.of_nothing:
            raise UserError(
                f"{path} has learned a teacher's features alone, and knows no classes; start from it: segdla train "
                f"CONFIG {in_shell(path, 'model.weights')}"
            )

    def require_masks(self, path: Path) -> None:
        """Raise UserError if these classes, of the network at ``path``, are of whole images."""
        self.require_some(path)
        if self.whole_images:
            raise UserError(
                f"{path} labels whole images, and this is for masks; segdla test scores it, segdla predict uses it, "
                "and a network for masks starts from its run (model.weights)"
            )

    def require_exclusive(self, purpose: str) -> None:
        """Raise UserError if classes overlap, for which ``purpose`` has no meaning."""
        if self.overlapping:
            raise UserError(f"{purpose} is for classes of which each pixel has one, and these overlap (data.overlap)")


class UnreadableImageError(UserError):
    """An image file can't be read."""


class UnreadableMaskError(UserError):
    """A mask file can't be read."""


class SizesDifferError(UserError):
    """An image and its mask are not of one size."""


class UnknownLabelsError(UserError):
    """A mask holds a value or colour that isn't a class."""


class Source(ABC):
    """Images with their targets, by index. To add a data set, write a class like this one::

        class Gradients(Source):
            classes = Classes(("dark", "light"), ((0, 0, 0), (255, 255, 255)))

            def __len__(self):
                return 100

            def name(self, index):
                return f"gradient_{index}"

            def read(self, index):
                row = np.linspace(0, 2 * index, 64).astype(np.uint8)
                image = np.broadcast_to(row[:, None], (48, 64, 3))
                return image, (image[..., 0] > 99).astype(np.uint8)

    and hand it in: ``segdla.train(config, source={"train": Gradients(), "val": Gradients()})``. The other attributes
    and methods have defaults, which suit a source that is not read from files and has a public truth.

    ``read`` is called from several threads and processes at once; a process that is not forked gets the source pickled.
    The same index gives the same pair: randomness belongs to the augmentation.
    """

    classes: Classes
    labelled: bool = True
    """True if the truth is public. If it is not, every pixel of every target is ignored and nothing can be scored."""
    problems: Sequence[str] = ()
    """A message for each image that should be in the source but can't be, such as one without a mask."""
    unused: Sequence[Path] = ()
    """Mask files that belong to no image."""
    goes_by_ids: bool = False
    """True if masks are files whose label ids are read, whatever colours a palette gives them."""
    sample_range: SampleRange | None = None
    """The samples that are black and white in image files of more than 8 bits; None stands for all of their bits."""
    has_server: bool = False
    """True if predictions can be submitted to the data set's server (``segdla test --submission``)."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return a name that no other image of the source has; it also names the files made from the image."""

    @abstractmethod
    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an RGB image (H,W,3) and its target (H,W) of train ids and ``IGNORE_INDEX``, both uint8.

        Of classes that overlap, it is a target of sets, and of whole images a single pixel: see ``Classes``.

        Raises UserError if the image or its mask can't be read.
        """

    def target(self, index: int) -> np.ndarray:
        """Return the target alone; override it if that is faster than reading the image too."""
        return self.read(index)[1]

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the image file that ``read`` reads, and the mask file if there is one; nothing if it reads none."""
        return ()

    def image_path(self, index: int) -> Path | None:
        """Return where the image is, perhaps in an archive; None if it is read from no file."""
        return next(iter(self.files(index)), None)

    def image_size(self, index: int) -> tuple[int, int]:
        """Return the image's (height, width); override it if a header tells."""
        height, width = self.target(index).shape
        return height, width

    def inputs(self, index: int) -> tuple[Path, ...]:
        """Return the files whose change may change what ``read`` gives."""
        return self.files(index)

    def cache_key(self, index: int) -> str:
        """Return a text of all else that ``read`` depends on; none if the pair is not to be cached."""
        return ""

    def group(self, index: int) -> str:
        """Return a name that this image shares with those that resemble it, such as its neighbours in a video.

        How sure a score is depends on the number of groups. By default each image is a group of its own.
        """
        return self.name(index)

    def official_truths(self) -> Mapping[str, Path]:
        """Return the mask files that the data set's own evaluator reads, by name; empty if it has no evaluator."""
        return {}

    def labelled_once(self) -> range:
        """Return the indexes of the images with labels, each image once, however often an epoch has it."""
        return range(len(self))

    def objects(self, index: int) -> np.ndarray | None:
        """Return an id (H,W) for each pixel's object, 0 where there is none; None if objects are not told apart."""
        return None

    def joined(self, other: "Source") -> "Source":
        """Return a source of the images of both. Raises UserError if they can't be trained on together."""
        raise UserError(f"a {type(self).__name__} can't be joined with another source; leave data.train_on_val out")
