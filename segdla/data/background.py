"""The names of a class that is whatever no other class is."""

from collections.abc import Iterable

BACKGROUND = "background"
_NAMES = (BACKGROUND, "bg", "unlabeled", "unlabelled")


def is_background(name: str) -> bool:
    """Return whether a class's name says that its pixels are of nothing else, as ``_background_`` does."""
    return name.lower().strip("_- ") in _NAMES


def background_of(names: Iterable[str]) -> str | None:
    """Return the first name that is one of a background; None if there is none."""
    return next(filter(is_background, names), None)
