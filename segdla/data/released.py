"""Public data sets as they are released: folders of images and masks, and the answer to what is missing."""

from collections.abc import Sequence
from pathlib import Path

from segdla.data.archives import is_folder, read_text
from segdla.data.pairing import ALIKE, Naming, Pairing, pair_folders
from segdla.errors import UserError


def released_pairs(images: Path, masks: Path, download: str, naming: Naming = ALIKE) -> Pairing:
    """Pair two folders of a public data set like ``pair_folders``; they may be in an archive.

    Raises UserError, which ends with what to ``download``, if a folder or a mask is missing.
    """
    require_folders([images, masks], download)
    pairing = pair_folders(images, masks, naming)
    return pairing._replace(problems=[f"{problem}; {download}" for problem in pairing.problems])


def require_folders(folders: Sequence[Path], download: str) -> None:
    """Raise UserError, which ends with what to ``download``, if a folder is missing."""
    for folder in folders:
        if not is_folder(folder):
            raise UserError(f"no folder {folder} (of data.root); {download}")


def released_list(path: Path, download: str) -> list[str]:
    """Return the names in a list of a public data set, one a line. Raises UserError if it can't be read."""
    try:
        return read_text(path).split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the list {path}: {getattr(error, 'strerror', error)}; {download}") from error


def no_public_labels(name: str) -> UserError:
    """Return the error that a set's test labels are not public."""
    return UserError(f"the labels of {name}'s test images are not public; score on val")
