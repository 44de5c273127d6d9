"""JSON files of labels, whose values are taken by type, with one line for what isn't as the format has it."""

import json
import math
from collections.abc import Iterator
from typing import Any

from segdla.data.annotations.file_tree import FileTree
from segdla.errors import UserError, quoted


class Node:
    """A value in a JSON file, and the way to it, which messages name: ``annotations[3].bbox``."""

    __slots__ = ("key", "parent", "value")

    def __init__(self, value: Any, parent: "Node | None", key: str | int):
        self.value = value
        self.parent = parent
        self.key = key

    @property
    def where(self) -> str:
        """The file, and the way to the value."""
        if self.parent is None:
            return str(self.key)
        if isinstance(self.key, int):
            return f"{self.parent.where}[{self.key}]"
        return f"{self.parent.where}{': ' if self.parent.parent is None else '.'}{self.key}"

    def wrong(self, expected: str) -> UserError:
        """Return the error that the value is not what is expected."""
        return UserError(f"{self.where} is {quoted(self.value, 60)}, not {expected}; mend the file, or export it anew")

    def __getitem__(self, key: str) -> "Node":
        if not isinstance(self.value, dict):
            raise self.wrong(f"a mapping with {key!r}")
        if key not in self.value:
            raise UserError(f"{self.where} has no {key!r}; mend the file, or export it anew")
        return Node(self.value[key], self, key)

    def get(self, key: str) -> "Node | None":
        """Return the value of a key; None if it is missing or null."""
        if not isinstance(self.value, dict):
            raise self.wrong("a mapping")
        return None if self.value.get(key) is None else Node(self.value[key], self, key)

    def __iter__(self) -> Iterator["Node"]:
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return (Node(value, self, i) for i, value in enumerate(self.value))

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong("text")
        return self.value

    def whole(self) -> int:
        if isinstance(self.value, float) and self.value.is_integer():
            return int(self.value)
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.wrong("a whole number")
        return self.value

    def number(self) -> float:
        if not isinstance(self.value, int | float) or isinstance(self.value, bool) or not math.isfinite(self.value):
            raise self.wrong("a number")
        return float(self.value)

    def size(self, height: str = "height", width: str = "width") -> tuple[int, int]:
        """Return the (height, width) that two keys hold."""
        return self[height].whole(), self[width].whole()


def read_json(tree: FileTree, name: str) -> Node:
    """Return what is in a JSON file. Raises UserError if it isn't one."""
    path = tree.path(name)
    try:
        return Node(json.loads(tree.read(name).decode("utf-8-sig")), None, str(path))
    except RecursionError:
        raise UserError(f"{path} is nested too deep; export it anew") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8 ({error}); export it anew") from error
    except ValueError as error:  # a number of thousands of digits too
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is no whole JSON file ({error}); perhaps it is cut short: export it anew") from error


def may_be(tree: FileTree, name: str, *keys: str) -> bool:
    """Return whether a JSON file is a mapping with these keys. A file that can't be read is not."""
    try:
        value = read_json(tree, name).value
    except UserError:
        return False
    return isinstance(value, dict) and all(key in value for key in keys)


def is_panoptic(tree: FileTree, name: str) -> bool:
    """Return whether a file of COCO's keys holds segments, which are in PNGs, and no annotation of its own."""
    try:
        if b"segments_info" not in tree.read(name):  # which takes far less than to parse it
            return False
        return "segments_info" in read_json(tree, name).value["annotations"][0]
    except (UserError, TypeError, KeyError, IndexError):
        return False
