"""Image files in a folder and below it, and what else is there."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from segdla.data.archives import is_folder, is_regular, walk_archive
from segdla.errors import UserError
from segdla.machine.remote.remote_path import RemotePath

IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif"))
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts", ".flv", ".3gp", ".mts", ".m2ts")
)
_OTHER_PICTURES = (".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".psd", ".svg", ".dng", ".nef", ".cr2", ".arw")
_POLYGONS = "may be polygons or boxes: read polygons by segdla check --labels, or draw them as PNGs of class ids"
_ARRAYS = "may be arrays: write each as a PNG"
_PACKED = "are packed: name one in place of the folder; in an archive, unpack that first"
_REMEDIES = {  # by suffix, in lower case
    **dict.fromkeys((".txt", ".json", ".geojson", ".xml", ".shp"), _POLYGONS),
    **dict.fromkeys((".mat", ".npy", ".npz", ".h5", ".nii"), _ARRAYS),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz"), _PACKED),
    **dict.fromkeys((".7z", ".rar", ".bz2", ".xz"), "are packed: unpack them"),
    **dict.fromkeys(VIDEO_SUFFIXES, "are videos: save their frames as images"),
    **dict.fromkeys(_OTHER_PICTURES, "are pictures of a kind that can't be read: convert them to PNG or JPEG"),
}


def walk_images(
    directory: Path,
    skip: Callable[[Path], bool] = lambda _: False,
    suffixes: Collection[str] = IMAGE_SUFFIXES,
) -> Iterator[Path]:
    """Yield everything in a directory and below it whose suffix is one of ``suffixes``, in lower or upper case.

    Links are followed once; hidden names are left out, and so are directories below that ``skip`` refuses.

    Raises UserError if a directory can't be listed.
    """
    for parent, folders, files in _walk(directory, skip):
        # A directory named like an image is not entered: the reader reports it.
        images = sorted(name for name in (*folders, *files) if Path(name).suffix.lower() in suffixes)
        yield from (parent / name for name in images)
        folders[:] = sorted(set(folders) - set(images))


def list_images(
    directory: Path, skip: Path | None = None, key: str = "of a config: data.root, and what is below"
) -> list[Path]:
    """List the images in a directory and below it, sorted, without those in the directory ``skip``.

    ``key`` says where the user named the directory.

    Raises UserError if the directory is missing or has no image in it; it lists what there is instead.
    """
    if is_regular(directory) and not is_folder(directory):
        raise UserError(f"{directory} is a file, where a folder or an archive (ZIP, tar) is asked for ({key})")
    if not is_folder(directory):
        raise UserError(f"no directory {directory}; check the path ({key})")
    skip_real = os.path.realpath(skip) if skip else None
    paths = sorted(walk_images(directory, lambda folder: os.path.realpath(folder) == skip_real))
    if not paths:
        raise UserError(f"no images in {directory} ({', '.join(sorted(IMAGE_SUFFIXES))}){others_in(directory)}")
    return paths


def unread_pictures(directory: Path) -> list[Path]:
    """List the pictures and videos in a directory and below it whose suffix says that they can't be read.

    Raises UserError if a directory can't be listed.
    """
    return [path for path in _others(directory) if path.suffix.lower() in (*_OTHER_PICTURES, *VIDEO_SUFFIXES)]


def others_in(directory: Path) -> str:
    """Say which files that are not named like images a directory holds, and what to do with them, after a message.

    Raises UserError if a directory can't be listed.
    """
    return _listed(_others(directory), directory)


def labels_in(directory: Path, least: int) -> str:
    """Say like ``others_in`` which files in a directory may hold labels in another form; nothing if they are too few.

    Raises UserError if a directory can't be listed.
    """
    files = [path for path in _others(directory) if _REMEDIES.get(path.suffix.lower()) in (_POLYGONS, _ARRAYS)]
    return _listed(files, directory) if len(files) >= max(1, least) else ""


def _listed(files: Sequence[Path], directory: Path) -> str:
    if not files:
        return "; check the path"
    kinds = Counter(path.suffix.lower() for path in files).most_common(3)
    counts = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in kinds)
    example = next(path for path in files if path.suffix.lower() == kinds[0][0])
    remedy = _REMEDIES.get(example.suffix.lower())
    then = f", which {remedy}" if remedy else "; check the path"
    return f", but other files ({counts}), such as {example.relative_to(directory)}{then}"


def _others(directory: Path) -> list[Path]:
    return [
        parent / name
        for parent, _, names in _walk(directory)
        for name in sorted(names)
        if Path(name).suffix.lower() not in IMAGE_SUFFIXES
    ]


def _walk(
    directory: Path, skip: Callable[[Path], bool] = lambda _: False
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each directory with the names in it, but hidden ones; links are followed once.

    Folders that are taken out of the list that is yielded are not entered.
    """
    visits: set[str] = set()
    tree: Iterator[tuple[str | Path, list[str], list[str]]] | None = walk_archive(directory)
    if tree is None and isinstance(directory, RemotePath):
        tree = directory.walk()
    for parent, folders, files in tree or os.walk(directory, followlinks=True, onerror=_cannot_list):
        real = os.path.realpath(parent)
        if real in visits or (visits and skip(Path(parent))):  # a link may lead here again, even in a loop
            folders.clear()
            continue
        visits.add(real)
        folders[:] = sorted(name for name in set(folders) if not name.startswith("."))
        yield type(directory)(parent), folders, [name for name in files if not name.startswith(".")]


def _cannot_list(error: OSError) -> None:
    raise UserError(f"cannot list {error.filename}: {error.strerror}") from error
