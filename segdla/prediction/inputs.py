"""What is to be predicted: images and videos from words of the command line, with the names their outputs get."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from segdla.data.images import IMAGE_SUFFIXES, walk_images
from segdla.errors import UserError

VIDEO_SUFFIXES = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts", ".flv"))


class Input(NamedTuple):
    """A file, and the name, less a suffix, of what is made of it: text, because there may be a million."""

    path: str
    name: str

    @property
    def is_video(self) -> bool:
        return Path(self.path).suffix.lower() in VIDEO_SUFFIXES


def find_inputs(words: Sequence[str], lines: Iterable[bytes] = (), skip: Path | None = None) -> list[Input]:
    """The files that words name, each once, in their order; ``-`` stands for the paths in ``lines``, one a line.

    A file that is named is called by its name alone, one of a folder or glob by its path inside it, one of a list by
    the path as listed. ``skip`` is a folder in which nothing is looked for. Raises UserError where a word names
    nothing, or two files would get one name.
    """
    found: dict[tuple[str, bool], Input] = {}
    for word in words:
        for entry in _listed(lines) if word == "-" else _named(word, skip):
            other = found.setdefault((entry.name, entry.is_video), entry)
            if other.path != entry.path:
                made = f"{entry.name}.{'mp4' if entry.is_video else 'png'}"
                one, two = Path(other.path), Path(entry.path)
                alike = one.with_suffix("") == two.with_suffix("")
                apart = f"one kind at a time, as by '{two.parent}/*{two.suffix}'" if alike else "the folder both are in"
                raise UserError(
                    f"{other.path} and {entry.path} would both become {made}; "
                    f"name {apart}, or give each an --output of its own"
                )
    if not found:
        raise UserError("no paths on stdin; list one a line, as find does")
    return list(found.values())


def _named(word: str, skip: Path | None) -> Iterator[Input]:
    path = Path(word)
    if not word:
        raise UserError("an input is empty; for all images in this folder write .")
    if path.is_dir():
        yield from _inside(path, skip)
    elif path.is_file():
        yield Input(word, path.stem)
    else:
        base = Path(*_before_wildcards(path))
        matches = [Path(match) for match in sorted(glob.glob(word, recursive=True))]
        if not matches:
            raise UserError(f"no image, video, folder or match for {word}")
        for match in matches:
            if match.is_file():
                yield Input(str(match), str(match.relative_to(base).with_suffix("")))


def _inside(folder: Path, skip: Path | None) -> Iterator[Input]:
    path = None
    for path in walk_images(folder, skip, IMAGE_SUFFIXES | VIDEO_SUFFIXES):
        yield Input(str(path), str(path.relative_to(folder).with_suffix("")))
    if path is None:
        raise UserError(f"no images or videos in {folder} ({', '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))})")


def _listed(lines: Iterable[bytes]) -> Iterator[Input]:
    for text in (os.fsdecode(part).rstrip("\r\n") for line in lines for part in line.split(b"\0")):  # find's -print0
        if text.strip():
            path = Path(text)
            parts = [part for part in path.relative_to(path.anchor).parts if part != ".."]  # or it would lead outside
            yield Input(text, str(Path(*parts).with_suffix("")))


def _before_wildcards(path: Path) -> Iterator[str]:
    for part in path.parts:
        if glob.has_magic(part):
            return
        yield part
