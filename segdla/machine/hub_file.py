"""Files of the Hugging Face Hub: downloaded once, verified, and never waited for when the hub is out of reach.

The package huggingface_hub does the work: it goes on after a connection that breaks off, and puts a file into its cache
whole or not at all. It is an extra (``pip install "segdla[hub]"``), imported when it is needed.
"""

import hashlib
import re
from pathlib import Path
from threading import Thread
from typing import Any

from segdla.errors import UserError, quoted

HUB = "hf://"
"""Before OWNER/NAME, the name of a repository on the hub."""
_PART = r"\w(?:[\w.-]{,94}\w)?"
_NAME = re.compile(rf"(?!.*(?:--|\.\.|\.git$)){_PART}/{_PART}", re.ASCII)
"""Names that the library takes; for others it raises an error."""
_SECONDS = 5  # a hub that has not answered by then is out of reach; looking its name up alone may take half a minute
OUT_OF_REACH = "the Hugging Face Hub can't be reached"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class AbsentError(UserError):
    """The hub answers, and has no such file."""


def is_address(place: str) -> bool:
    """Return whether a text is an address on the hub."""
    return place.startswith(HUB)


def split_address(address: str) -> tuple[str, str]:
    """Return the repository and the revision, "" if none, of ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION``.

    Raises UserError if it is none.
    """
    repo, _, revision = address.removeprefix(HUB).partition("@")
    if not _NAME.fullmatch(repo):
        raise UserError(f"{quoted(repo)} is not a name on the Hugging Face Hub; write {HUB}OWNER/NAME")
    return repo, revision


def hub_file(
    repo: str,
    name: str,
    revision: str = "",
    *,
    absent: str = "give another name",
    offline: str = "load it once with a network (and HF_HUB_OFFLINE unset), or give a file",
) -> Path:
    """Return the newest file of that name in a model's repository OWNER/NAME, downloaded unless it is on this machine.

    Without a network it is the one on this machine. Raises AbsentError if there is none, and UserError if the hub can't
    be reached or the file came damaged; ``absent`` and ``offline`` say what to do.
    """
    address = f"{HUB}{repo}" + (f"@{revision}" if revision else "")
    hub = hub_library(address)
    options = {"revision": revision or None, "etag_timeout": _SECONDS}
    try:
        is_offline = not answers(hub, repo, name)
        path = Path(hub.hf_hub_download(repo_id=repo, filename=name, local_files_only=is_offline, **options))
    except hub.errors.LocalEntryNotFoundError:
        raise UserError(f"{address} is not on this machine yet and {OUT_OF_REACH}; {offline}") from None
    except hub.errors.EntryNotFoundError:
        raise AbsentError(f"{address} has no {name}: {absent}") from None
    except Exception as error:  # whatever the network and the server make it raise
        raise UserError(_refused(address, error)) from error
    return _verified(path, address)


def cached_file(repo: str, name: str, revision: str = "") -> Path | None:
    """Return a file of a repository that is on this machine, without asking the hub; None if it is not.

    Raises UserError if it is damaged.
    """
    try:
        hub = hub_library(repo)
    except UserError:  # without the library there is no cache of it
        return None
    path = hub.try_to_load_from_cache(repo, name, revision=revision or None)
    return _verified(Path(path), f"{HUB}{repo}") if isinstance(path, str) else None


def hub_size(repo: str, name: str, revision: str = "") -> int | None:
    """Return the size of a file in bytes, as the hub answers within seconds; None if it does not answer.

    Raises AbsentError if there is none, and UserError if the hub refuses.
    """
    hub = hub_library(f"{HUB}{repo}")
    answer = None if hub.constants.HF_HUB_OFFLINE else _ask(hub, hub.hf_hub_url(repo, name, revision=revision or None))
    if isinstance(answer, hub.errors.EntryNotFoundError):
        raise AbsentError(f"{HUB}{repo} has no {name}; give another name")
    if isinstance(answer, Exception):
        raise UserError(_refused(f"{HUB}{repo}", answer)) from answer
    return None if answer is None else int(answer.size or 0)


def hub_library(address: str) -> Any:
    """Return the package huggingface_hub. Raises UserError if it is missing; ``address`` is what it is needed for."""
    try:
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError:
        raise UserError(f'{address} takes the package huggingface_hub: pip install "segdla[hub]"') from None
    return huggingface_hub


def answers(hub: Any, repo: str, name: str) -> bool:
    """Return whether the hub answers within seconds, be it with an error."""
    return not hub.constants.HF_HUB_OFFLINE and _ask(hub, hub.hf_hub_url(repo, name)) is not None


def _ask(hub: Any, url: str) -> Any:
    """Return a file's facts, or the error that the hub answers with; None if it does not answer within seconds."""
    heard: list[Any] = []

    def ask() -> None:
        try:
            heard.append(hub.get_hf_file_metadata(url, timeout=_SECONDS))
        except hub.errors.HfHubHTTPError as error:
            heard.append(error)
        except Exception:  # no network, in one of many ways
            heard.append(None)

    thread = Thread(target=ask, daemon=True)  # left behind if looking up the name hangs
    thread.start()
    thread.join(_SECONDS)
    return heard[0] if heard else None


def _verified(path: Path, address: str) -> Path:
    """Return a file of the cache whose content is the one announced; the cache names large files by their SHA-256.

    Raises UserError if it is another, and removes it.
    """
    blob = path.parent / path.readlink() if path.is_symlink() else path
    if _SHA256.fullmatch(blob.name) and sha256(blob) != blob.name:
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        raise UserError(f"{address}: {path.name} is damaged, its SHA-256 is not the hub's; it was removed, try again")
    return path


def _refused(address: str, error: Exception) -> str:
    reason = first_line(error)
    return f"cannot get {address} ({reason}); check the name, and for a private one log in (hf auth login)"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits. Raises UserError if it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; make it readable, or give another") from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type's name if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
