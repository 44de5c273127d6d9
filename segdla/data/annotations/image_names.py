"""The image that a format names, among those in a folder or an archive."""

import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import PurePosixPath

from segdla.data.annotations.file_tree import FileTree
from segdla.data.listing import IMAGE_SUFFIXES
from segdla.data.paths import composed
from segdla.errors import UserError, one_line


class ImageNames:
    """The images of a tree, by their names with and without suffix, in any Unicode form, but for ``others``."""

    def __init__(self, tree: FileTree, others: Collection[str] = ()):
        self.tree = tree
        self.names = [
            name for name in tree.names if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and name not in others
        ]
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            last = composed(PurePosixPath(name).name)
            for key in {last, PurePosixPath(last).stem}:
                self._by_name[key].append(name)

    def without(self, others: Collection[str]) -> "ImageNames":
        """Return these images but for ``others``, which are masks."""
        return ImageNames(self.tree, others)

    def find(self, name: str) -> str:
        """Return the image that is meant by a name or path, of any system, with or without the image's suffix.

        Folders at the beginning that one of the two lacks are left out of account.

        Raises UserError if it is none or not one alone.
        """
        parts = path_parts(name)
        fitting = [image for image in self._by_name.get(parts[-1], ()) if agree(path_parts(image), parts)]
        exact = [image for image in fitting if len(path_parts(image)) == len(parts)]
        if len(exact or fitting) == 1:
            return (exact or fitting)[0]
        if not fitting:
            raise UserError(
                f"no image {one_line(name, 100)!r} in {self.tree.root}; add it, or check the path (--images)"
            )
        raise UserError(
            f"{one_line(name, 100)!r} may be {fitting[0]} or {fitting[1]} in {self.tree.root}; keep one of them, or "
            "name a folder that holds one alone (--images)"
        )


def path_parts(name: str) -> list[str]:
    """Return the folders and the name of a path of any system, without the drive, and without . and .. in it."""
    parts = [part for part in composed(name).replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return (parts[1:] if parts and re.fullmatch("[A-Za-z]:", parts[0]) else parts) or [""]


def agree(path: list[str], other: list[str]) -> bool:
    """Return whether the folders of one path are the end of the other's."""
    shared = min(len(path), len(other))
    return path[-shared:-1] == other[-shared:-1]
