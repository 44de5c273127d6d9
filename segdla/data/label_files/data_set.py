"""A data set written in another format, whole or not at all."""

import re
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from segdla.data.image_header import read_content
from segdla.data.image_writer import encode_image
from segdla.data.label_files.label_format import LabelFormat
from segdla.data.label_files.label_writer import LabelWriter
from segdla.data.label_files.labelled import Labelled, Style
from segdla.data.labels import IGNORE_INDEX
from segdla.data.source import Source
from segdla.errors import UserError, quoted
from segdla.machine.files import partial_path, put_in_place, write_whole
from segdla.machine.threads import ahead, usable_processors

ImageFiles = Literal["copy", "link", "none"]
"""Images beside the labels: copies, symbolic links, or none."""


@dataclass(frozen=True)
class Conversion:
    """A data set that was written."""

    folder: Path
    images: int
    problems: tuple[str, ...] = ()  # with images, which are left out
    remarks: tuple[str, ...] = ()  # for the user


class _Job(NamedTuple):
    split: str
    source: Source
    number: int
    stem: str  # of the image, in the folder of images


def write_data_set(
    splits: Mapping[str, Source],
    form: LabelFormat,
    folder: Path,
    style: Style,
    images: ImageFiles = "copy",
    progress: Callable[[Collection[_Job]], Iterable[object]] = iter,
) -> Conversion:
    """Write the images and labels of splits into a new folder; the split of a set that has none is called "".

    ``progress`` wraps the images that are waited for. An image that can't be read is a problem; the rest continues.

    Raises UserError if the folder exists, two images have one name, or nothing can be written.
    """
    form.require_fit(style.classes)
    jobs = _jobs(splits, form)
    names: dict[str, list[str]] = {split: [] for split in splits}
    problems = list(dict.fromkeys(problem for source in splits.values() for problem in source.problems))
    ignored = 0
    with new_folder(folder) as partial:
        writer = LabelWriter(form, partial, style)
        threads = max(2, min(8, usable_processors()))
        results = ahead(lambda job: _write(job, writer, images), jobs, threads, 2 * threads)
        with closing(results):
            for _, (job, future) in zip(progress(jobs), results, strict=True):
                try:
                    name, has_ignored = future.result()
                except UserError as error:
                    problems.append(str(error))
                else:
                    names[job.split].append(name)
                    ignored += has_ignored
        if not any(names.values()):
            raise UserError(f"no image can be converted: {problems[0] if problems else 'there is none'}")
        writer.finish({split: stems for split, stems in names.items() if stems})
        writer.remove_shares()
    lost = f"{ignored} images have ignored pixels, which the format can't express: they have no label now"
    remarks = (lost,) if ignored and not form.KEEPS_IGNORED else ()
    return Conversion(folder, sum(map(len, names.values())), tuple(problems), remarks)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder that gets its name at the end, and is removed if an error ends the context."""
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} exists; choose another --output, or remove it")
    partial = partial_path(folder)
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        partial.mkdir(parents=True)
        yield partial
        put_in_place(partial, folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}; choose another --output") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _jobs(splits: Mapping[str, Source], form: LabelFormat) -> list[_Job]:
    """Return the images with names that none shares. Raises UserError if two would, or a split can't be a folder."""
    for split in splits:
        if re.search(r"[/\\\x00-\x1f]", split) or split in (".", ".."):
            raise UserError(f"{quoted(split, 60)} can't be the name of a folder; rename the split")
    jobs = [
        _Job(split, source, index, source.name(index))
        for split, source in splits.items()
        for index in range(len(source))
    ]
    if form.IS_FLAT:
        jobs = [job._replace(stem=job.stem.replace("/", "_")) for job in jobs]
        are_unique = len({job.stem for job in jobs}) == len(jobs)
        jobs = jobs if are_unique else [job._replace(stem=f"{job.split}_{job.stem}") for job in jobs]
    else:
        jobs = [job._replace(stem=f"{job.split}/{job.stem}" if job.split else job.stem) for job in jobs]
    twice = [stem for stem, times in Counter(job.stem for job in jobs).items() if times > 1]
    if twice:
        raise UserError(f"two images would have the name {quoted(twice[0])}, and so would their labels; rename one")
    return jobs


def _write(job: _Job, writer: LabelWriter, images: ImageFiles) -> tuple[str, bool]:
    """Write an image and its labels; return its name, and whether pixels are ignored."""
    class_ids = job.source.target(job.number)
    path = job.source.image_path(job.number)
    name = job.stem + (".png" if path is None else path.suffix)
    place = writer.folder / writer.form.IMAGES / name
    image = None if images == "none" else _image(job, path)  # before the labels, lest these be without one
    writer.write(Labelled(name, class_ids, job.split, path if image is None else place))
    if image is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        write_whole(place, image)
    elif image is not None and images == "link":
        place.symlink_to(image.absolute())
    elif image is not None:
        shutil.copyfile(image, place)
    return name, bool(np.any(class_ids == IGNORE_INDEX))


def _image(job: _Job, path: Path | None) -> Path | bytes:
    """Return the file of an image, or its content if it has none of its own."""
    if path is None:
        return encode_image(job.source.read(job.number)[0])
    return path if path.is_file() else read_content(path)  # which is in an archive
