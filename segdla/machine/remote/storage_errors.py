"""Failures of a storage, told in one line: what could not be done, why, and the remedy; nothing secret is in it."""

import errno
import os
import re

from segdla.errors import UserError, one_line
from segdla.machine.hub_file import first_line
from segdla.machine.remote.urls import protocol_of

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_FINAL = (FileExistsError, IsADirectoryError, NotADirectoryError, NotImplementedError, ImportError, ValueError)
_REFUSED = re.compile(r"40[13]\b|forbidden|unauthori[sz]ed|access ?denied|credential|signature|invalid.?token", re.I)
_EXPIRED = re.compile(r"expired", re.I)
_NO_BUCKET = re.compile(r"bucket.{0,40}(not exist|not found)|no ?such ?bucket|container.{0,40}not exist", re.I)
_NO_REPOSITORY = ("RepositoryNotFoundError", "GatedRepoError")  # of huggingface_hub
_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|SAS|CREDENTIAL|CONNECTION_STRING")
_LOGIN = {
    "s3": "aws sso login, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS",
    "az": "az login, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or _SAS_TOKEN",
    "hf": "hf auth login, or HF_TOKEN",
    "http": "user:password@ or the whole signed URL",
}


class StorageError(UserError):
    """A storage refuses or does not answer: no fault of the object, so going on with the next one helps nobody."""


def final_answer(verb: str, url: str, raised: Exception) -> Exception | None:
    """Return the error to raise for a failed request, or None if it may work when it is tried again.

    It is FileNotFoundError for what is not there, the error itself for a full disk here, StorageError for the rest.
    """
    error = _reason(raised)
    text = _text(error)
    if isinstance(error, OSError) and error.errno in _DISK:
        return error
    if _NO_BUCKET.search(text) or (verb == "write" and isinstance(error, FileNotFoundError)):
        return StorageError(f"cannot {verb} {url}: there is no such bucket; check its name")
    if type(error).__name__ in _NO_REPOSITORY:
        return StorageError(
            f"cannot {verb} {url}: there is no such repository, or not for you; check its name, or log in: "
            f"{_LOGIN['hf']}"
        )
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "no such object", url)
    if _EXPIRED.search(text) or isinstance(error, PermissionError) or _REFUSED.search(text):
        return _refused(verb, url, text)
    return lost(verb, url, error, "not tried again") if isinstance(error, _FINAL) else None


def lost(verb: str, url: str, error: Exception, effort: str) -> StorageError:
    """Return the error for a request that failed for good, after some effort."""
    return StorageError(f"cannot {verb} {url}: {_text(_reason(error))} ({effort}); try again when the storage answers")


def _reason(error: Exception) -> Exception:
    """Return why a web server's file counts as missing: HTTP's file system says so of any error."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or not isinstance(cause, Exception):
        return error
    is_of_network = isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)
    return cause if is_of_network or getattr(cause, "status", 404) != 404 else error


def _refused(verb: str, url: str, text: str) -> StorageError:
    protocol = protocol_of(url)
    kind = "az" if protocol.startswith("abfs") else protocol.replace("gcs", "gs").replace("https", "http")
    login = _LOGIN.get(kind, "the file's permissions")
    if _EXPIRED.search(text):
        return StorageError(f"cannot {verb} {url}: the credentials have expired; renew them ({login}), then go on")
    return StorageError(
        f"cannot {verb} {url}: access denied ({text}); ask for the right to {verb} it, or log in: {login}"
    )


def _text(error: BaseException) -> str:
    """Return an error's first line without anything secret: URLs lose their queries, and the environment its keys."""
    cause = error.__cause__
    text = first_line(error) if isinstance(error, Exception) else type(error).__name__
    if cause is not None and type(cause).__name__ == "ClientError":  # of botocore; its code says more than its text
        text = f"{cause.response.get('Error', {}).get('Code', '')}: {text}"  # type: ignore[attr-defined]
    text = re.sub(r"://[^\s/@'\"]*@", "://", re.sub(r"\?[^\s'\")]*", "", text))
    for name, value in os.environ.items():
        if len(value) >= 8 and _SECRET_NAME.search(name):
            text = text.replace(value, "***")
    return one_line(text, 160)
