"""URLs of object storage: ``s3://bucket/key``, ``gs://``, ``az://``, ``https://``, ``hf://datasets/OWNER/NAME/...``.

A URL that brings credentials (``user:password@``, or a query, which may be a signature) loses them at the door: all
other code, and so every message, config, card, log and file name, sees the URL without them. They are kept in this
process, and put back where a request is made.
"""

import re

from segdla.errors import UserError

PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "hf": "huggingface_hub",
    "memory": "fsspec",
    "file": "fsspec",
}
"""The protocols that a URL may begin with, and the package that speaks each."""
_URL = re.compile(rf"({'|'.join(PACKAGES)}):/{{1,2}}(?=[^/]|/)", re.ASCII)
_HUB_DATASETS = "hf://datasets/"  # other addresses on the hub are networks (machine/hub_file.py)
_full: dict[str, str] = {}  # URLs with their credentials, by those without


def is_url(place: object) -> bool:
    """Return whether a text is a URL of object storage; ``hf://OWNER/NAME`` is not, since it names a network."""
    text = str(place)
    found = _URL.match(text)
    return found is not None and "://" in text[: found.end()] and (found[1] != "hf" or text.startswith(_HUB_DATASETS))


def is_in_bucket(url: str) -> bool:
    """Return whether a URL is of something in a bucket, or of a repository of the hub or something in it."""
    if url.startswith(_HUB_DATASETS):
        return url.count("/") > _HUB_DATASETS.count("/")
    return is_url(url) and "/" in url.partition("://")[2].strip("/")


def protocol_of(url: str) -> str:
    """Return the part of a URL before ``://``."""
    return url.partition("://")[0]


def public_url(url: str) -> str:
    """Return a URL without its credentials, which are kept for the requests of this process.

    Raises UserError if another URL differs from it in its credentials alone, or if the protocol takes none in a URL.
    """
    public = without_credentials(url)
    if public == url:
        return url
    if protocol_of(url) not in ("http", "https"):
        raise UserError(
            f"credentials don't belong into a URL ({public}); give them to {PACKAGES[protocol_of(url)]} by its "
            "environment variables or its configuration files"
        )
    if _full.setdefault(public, url) != url:
        raise UserError(f"two URLs differ in what follows {public} alone, and would be taken for one; give one of them")
    return public


def without_credentials(url: str) -> str:
    """Return a URL without user, password and, of a web address, query and fragment."""
    protocol, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    if at and (":" in user or protocol in ("http", "https")):  # abfs://container@account holds no credentials
        place = host
    if protocol in ("http", "https"):
        path = re.split(r"[?#]", path, maxsplit=1)[0]
        place = re.split(r"[?#]", place, maxsplit=1)[0]
    return f"{protocol}://{place}{slash}{path}"


def full_url(url: str) -> str:
    """Return a public URL with the credentials that it came with; for a request, never for a message."""
    return _full.get(url, url)


def joined_url(folder: str, name: str) -> str:
    """Return the URL of a name in a folder."""
    return f"{folder.rstrip('/')}/{name}"
