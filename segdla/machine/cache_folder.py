"""The folder of everything that is kept on this machine to save time: decoded images, and files of object storage."""

import os
from pathlib import Path

from segdla.errors import UserError


def cache_folder() -> Path:
    """Return ``$SEGDLA_CACHE``, or segdla/ in the user's cache folder. Raises UserError if there is no home folder."""
    if own := os.environ.get("SEGDLA_CACHE"):
        return Path(own).expanduser()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segdla"
    except RuntimeError as error:
        raise UserError(f"no place for a cache: {error}; set SEGDLA_CACHE to a folder") from error
