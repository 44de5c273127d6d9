"""What is to be predicted: images and videos from words of the command line, with the names their outputs get."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from segdla.data.images import IMAGE_SUFFIXES, walk_images
from segdla.errors import UserError

VIDEO_SUFFIXES = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts", ".flv"))


LEGEND = "legend.png"


class Input(NamedTuple):
    """A file, and the name, less a suffix, of what is made of it: text, because there may be a million."""

    path: str
    name: str

    @property
    def is_video(self) -> bool:
        return Path(self.path).suffix.lower() in VIDEO_SUFFIXES


def find_inputs(
    words: Sequence[str], lines: Iterable[bytes] = (), is_output: Callable[[Path], bool] = lambda _: False
) -> list[Input]:
    """The files that words name, each once, in their order; ``-`` stands for the paths in ``lines``, one a line.

    A file that is named is called by its name alone, one of a folder or glob by its path inside it, one of a list by
    the path as listed. Folders and globs are not followed into folders with outputs of before, unless they start
    there. Raises UserError where a word names nothing, or two files would get one name.
    """
    is_output = cache(is_output)
    found: dict[tuple[str, bool], Input] = {}
    for word in words:
        for entry in _listed(lines) if word == "-" else _named(word, is_output):
            other = found.setdefault((entry.name, entry.is_video), entry)
            one, two = Path(other.path), Path(entry.path)
            if one != two:
                made = f"{entry.name}.{'mp4' if entry.is_video else 'png'}"
                alike = one.with_suffix("") == two.with_suffix("")
                apart = f"one kind at a time, as by '{two.parent}/*{two.suffix}'" if alike else "the folder both are in"
                raise UserError(
                    f"{other.path} and {entry.path} would both become {made}; "
                    f"name {apart}, or give each an --output of its own"
                )
    if not found:
        raise UserError("no paths on stdin; list one a line, as find does")
    return list(found.values())


def _named(word: str, is_output: Callable[[Path], bool]) -> Iterator[Input]:
    path = Path(word)
    if not word:
        raise UserError("an input is empty; for all images in this folder write .")
    if os.path.isdir(word):  # noqa: PTH112 (Path's own fails where the word can't be a path at all)
        files, base = _inside(path, is_output), path
        nothing = f"no images or videos in {word} ({', '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))})"
    elif os.path.isfile(word):  # noqa: PTH113
        yield Input(word, path.stem)
        return
    else:
        base = Path(*_before_wildcards(path))
        files = _matches(word, base, is_output)
        nothing = f"no image, video, folder or match for {word}"
    file = None
    for file in files:
        yield Input(str(file), str(file.relative_to(base).with_suffix("")))
    if file is None:
        raise UserError(nothing)


def _inside(folder: Path, is_output: Callable[[Path], bool]) -> Iterator[Path]:
    for path in walk_images(folder, is_output, IMAGE_SUFFIXES | VIDEO_SUFFIXES):
        if not is_output(path):
            yield path


def _matches(pattern: str, base: Path, is_output: Callable[[Path], bool]) -> Iterator[Path]:
    for match in map(Path, sorted(glob.glob(pattern, recursive=True))):
        below = [match, *match.parents]
        if any(is_output(folder) for folder in below[: below.index(base)]):
            continue
        if match.is_dir():
            yield from _inside(match, is_output)
        elif match.is_file():
            yield match


def _listed(lines: Iterable[bytes]) -> Iterator[Input]:
    for text in (os.fsdecode(part).rstrip("\r\n") for line in lines for part in line.split(b"\0")):  # find's -print0
        if text.strip():
            path = Path(text)
            parts = [part for part in path.relative_to(path.anchor).parts if part != ".."]  # or it would lead outside
            if not parts:
                raise UserError(f"{text} is a folder; list files, as find -type f does")
            yield Input(text, str(Path(*parts).with_suffix("")))


def _before_wildcards(path: Path) -> Iterator[str]:
    for part in path.parts:
        if glob.has_magic(part):
            return
        yield part
