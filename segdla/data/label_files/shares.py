"""The shares of images in a file of all images, kept in a hidden folder, each in a file named like its image."""

from pathlib import Path

SHARES = ".parts"


def share_of(name: str, suffix: str) -> str:
    """Return the path of an image's share, from the folder of the labels."""
    return f"{SHARES}/{name}{suffix}"


def shared_images(folder: Path, suffix: str) -> list[str]:
    """Return the names of the images whose shares are in the folder of the labels."""
    files = (folder / SHARES).rglob(f"*{suffix}")
    return [file.relative_to(folder / SHARES).as_posix().removesuffix(suffix) for file in files]
