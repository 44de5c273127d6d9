"""The files of an export, in a folder or in an archive, which is read in place."""

from collections.abc import Sequence
from pathlib import Path

from segdla.data.archives import is_folder, is_regular, state_file
from segdla.data.image_header import read_content
from segdla.data.listing import IMAGE_SUFFIXES, walk_images
from segdla.errors import UserError

_SUFFIXES = IMAGE_SUFFIXES | {".json", ".xml", ".txt", ".yaml", ".yml", ".csv"}


class FileTree:
    """Files by their names in a folder and below it, or one of them alone, with / between folders.

    Read from several threads and processes at once, it can be pickled.
    """

    def __init__(self, root: Path, only: Path | None = None):
        self.root = root
        paths = walk_images(root, suffixes=_SUFFIXES) if only is None else [only]
        self.names: Sequence[str] = sorted(path.relative_to(root).as_posix() for path in paths)  # without hidden ones
        self.is_of_one = only is not None

    def read(self, name: str) -> bytes:
        """Return the bytes of a file. Raises UserError if it can't be read."""
        return read_content(self.root / name)

    def path(self, name: str) -> Path:
        """Return where a file is; in an archive, the path that it would have if the archive were a folder."""
        return self.root / name

    def state(self, name: str) -> Path:
        """Return the file on disk whose state tells whether the content has changed."""
        return state_file(self.root / name)

    def names_beside(self) -> Sequence[str]:
        """List the files where the tree's are: more than ``names``, if it is of one file of a folder."""
        return FileTree(self.root).names if self.is_of_one else self.names

    def with_suffix(self, *suffixes: str) -> list[str]:
        """List the names that end so, in lower or upper case."""
        return [name for name in self.names if name.lower().endswith(suffixes)]


def open_tree(path: Path) -> FileTree:
    """Return the files in a folder or an archive, or the one file that a path names.

    A YAML file stands for the folder that it is in. Raises UserError if there is nothing of that name.
    """
    if is_folder(path):
        return FileTree(path)
    if not is_regular(path):
        raise UserError(f"no file or folder {path}; check the path")
    return FileTree(path.parent, None if path.suffix.lower() in (".yaml", ".yml") else path)
