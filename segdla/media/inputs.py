"""Images, videos and cameras to predict, as words of a command line name them."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from segdla.data.listing import IMAGE_SUFFIXES, VIDEO_SUFFIXES, walk_images
from segdla.errors import UserError
from segdla.machine.remote.remote_path import RemotePath, as_path
from segdla.machine.remote.urls import is_url

_CAMERA = "camera:"


class Input(NamedTuple):
    """A file to predict, or a camera as ``camera:0``, and the name of its outputs, without a suffix.

    The path is text, because a million inputs take less memory so.
    """

    path: str
    name: str

    @property
    def is_video(self) -> bool:
        """True if the file is named like a video, or it is a camera."""
        return Path(self.path).suffix.lower() in VIDEO_SUFFIXES or self.camera is not None

    @property
    def camera(self) -> int | None:
        """The number of a camera; None for a file."""
        number = self.path.removeprefix(_CAMERA)
        return int(number) if number != self.path and number.isdecimal() else None


def find_inputs(
    words: Sequence[str], lines: Iterable[bytes] = (), is_output: Callable[[Path], bool] = lambda _: False
) -> list[Input]:
    """Return the files that words name, each once, in their order; ``-`` stands for the paths in ``lines``.

    The outputs of a file are named by its own name. In a folder or a glob, they are named by its path inside; in a
    list, by its path as listed. Folders with earlier outputs are left out, unless a word names one.

    Raises UserError if a word names nothing, the outputs of two files would have one name, or a camera isn't alone.
    """
    inputs: dict[tuple[str, bool], Input] = {}
    for entry in listed_inputs(words, lines, is_output):
        other = inputs.setdefault((entry.name, entry.is_video), entry)
        if Path(other.path) != Path(entry.path):
            raise same_name(other, entry)
    camera = next((entry for entry in inputs.values() if entry.camera is not None), None)
    if camera and len(inputs) > 1:
        raise UserError(f"{camera.path} is recorded until Ctrl-C; name it without other inputs")
    return list(inputs.values())


def listed_inputs(
    words: Sequence[str], lines: Iterable[bytes] = (), is_output: Callable[[Path], bool] = lambda _: False
) -> Iterator[Input]:
    """Yield what ``find_inputs`` returns as it is found; two words may give one file twice, or two of one name.

    Raises UserError if a word names nothing.
    """
    is_output = cache(is_output)
    entry = None
    for word in words:
        for entry in _listed(lines) if word == "-" else _named(word, is_output):
            yield entry
    if entry is None:
        raise UserError("no paths on stdin; list one a line, as find does")


def same_name(one: Input, two: Input) -> UserError:
    """Return the error of two inputs whose outputs would have one name."""
    first, second = Path(one.path), Path(two.path)
    output = f"{two.name}.{'mp4' if two.is_video else 'png'}"
    if first.with_suffix("") == second.with_suffix(""):
        remedy = f"one kind at a time, as by '{second.parent}/*{second.suffix}'"
    else:
        remedy = "the folder both are in"
    return UserError(
        f"{one.path} and {two.path} would both become {output}; name {remedy}, or give each an --output of its own"
    )


def _named(word: str, is_output: Callable[[Path], bool]) -> Iterator[Input]:
    path = as_path(word)
    if not word:
        raise UserError("an input is empty; for all images in this folder write .")
    if isinstance(path, RemotePath):
        yield from _in_storage(path, is_output)
        return
    if word.startswith(_CAMERA):
        if (camera := Input(word, word.replace(":", "-"))).camera is None:
            raise UserError(f"{word} is no camera; cameras have numbers, as camera:0 (a file of this name: ./{word})")
        yield camera
        return
    if os.path.isdir(word):  # noqa: PTH112 (Path's own fails where the word can't be a path at all)
        files, base = _inside(path, is_output), path
        complaint = f"no images or videos in {word} ({', '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))})"
    elif os.path.isfile(word):  # noqa: PTH113
        yield Input(word, path.stem)
        return
    else:
        base = Path(*_before_wildcards(path))
        files = _matches(word, base, is_output)
        complaint = f"no image, video, folder or match for {word}"
    file = None
    for file in files:
        yield Input(str(file), str(file.relative_to(base).with_suffix("")))
    if file is None:
        raise UserError(complaint)


def _in_storage(path: RemotePath, is_output: Callable[[Path], bool]) -> Iterator[Input]:
    """Yield the object at a URL, the images in a folder and below it, or what matches a pattern, as for files."""
    if path.is_file():
        yield Input(str(path), path.stem)
        return
    if "**" in str(path):
        raise UserError(f"{path} goes through all folders; name the folder above, whose images are all taken")
    base = RemotePath(*_before_wildcards(path))
    files = _inside(path, is_output) if base == path else base.glob(path.relative_to(base).as_posix())
    file = None
    for file in files:
        yield Input(str(file), str(file.relative_to(base).with_suffix("")))
    if file is None:
        raise UserError(f"no image, video, folder or match for {path}; check bucket and name")


def _inside(folder: Path, is_output: Callable[[Path], bool]) -> Iterator[Path]:
    for path in walk_images(folder, is_output, IMAGE_SUFFIXES | VIDEO_SUFFIXES):
        if not is_output(path):
            yield path


def _matches(pattern: str, base: Path, is_output: Callable[[Path], bool]) -> Iterator[Path]:
    for match in map(Path, sorted(glob.glob(pattern, recursive=True))):
        folders = [match, *match.parents]
        if any(is_output(folder) for folder in folders[: folders.index(base)]):
            continue
        if match.is_dir():
            yield from _inside(match, is_output)
        elif match.is_file():
            yield match


def _listed(lines: Iterable[bytes]) -> Iterator[Input]:
    for text in (os.fsdecode(part).rstrip("\r\n") for line in lines for part in line.split(b"\0")):  # find's -print0
        if text.strip():
            if is_url(text):  # named by its place in the bucket
                url = as_path(text)
                yield Input(str(url), str(Path(*url.parts[2:]).with_suffix("")))
                continue
            path = Path(text)
            # With .. in it, the name would lead out of the folder of outputs.
            parts = [part for part in path.relative_to(path.anchor).parts if part != ".."]
            if not parts:
                raise UserError(f"{text} is a folder; list files, as find -type f does")
            yield Input(text, str(Path(*parts).with_suffix("")))


def _before_wildcards(path: Path) -> Iterator[str]:
    for part in path.parts:
        if glob.has_magic(part):
            return
        yield part
