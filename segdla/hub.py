"""Checkpoints on the Hugging Face Hub: ``hf://OWNER/NAME``, or ``hf://OWNER/NAME@REVISION``.

What goes through is a checkpoint as it is, a safetensors file: it holds tensors and text, and no code. The package
huggingface_hub does the work; it is an extra (``pip install segdla[hub]``), imported when it is needed.
"""

import re
from pathlib import Path
from threading import Thread
from typing import Any

from segdla.errors import UserError

FILE = "model.safetensors"
_PREFIX = "hf://"
_SECONDS = 5  # a hub that has not answered by then is out of reach; looking its name up alone may take half a minute
_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def is_address(place: str) -> bool:
    return place.startswith(_PREFIX)


def download(address: str) -> Path:
    """The checkpoint file at an address, from the hub, or from this machine where it has been downloaded before.

    Raises UserError where there is none, or the hub can't be reached.
    """
    name, _, revision = address.removeprefix(_PREFIX).partition("@")
    hub = _library(name)
    where = {"repo_id": name, "filename": FILE, "revision": revision or None}
    try:
        offline = not _answers(hub, name)
        return Path(hub.hf_hub_download(**where, local_files_only=offline, etag_timeout=_SECONDS))
    except hub.errors.LocalEntryNotFoundError:
        raise UserError(
            f"{address} is not on this machine yet and the Hugging Face Hub can't be reached; load it once with a "
            "network (and HF_HUB_OFFLINE unset), or give a run or a checkpoint"
        ) from None
    except hub.errors.EntryNotFoundError:
        raise UserError(f"{address} has no {FILE}: it was not uploaded by save_to_hub; give another name") from None
    except Exception as error:  # whatever the network and the server make it raise
        raise UserError(
            f"cannot get {address} ({_first_line(error)}); check the name, and for a private one log in (hf auth login)"
        ) from error


def upload(name: str, path: Path, card: dict[str, Any], private: bool) -> str:
    """Upload the checkpoint at ``path``, which ``card`` is about, as OWNER/NAME; returns its address.

    The repository is made if it isn't there; one that has a README keeps it. Raises UserError where it can't be done.
    """
    name = name.removeprefix(_PREFIX)
    hub = _library(name)
    if path.suffix != ".safetensors":
        raise UserError(f"{path} is not a checkpoint of segdla; load the run that it was exported from, and save that")
    if not _answers(hub, name):
        raise UserError(f"cannot upload to hf://{name}: the Hugging Face Hub can't be reached; try with a network")
    api = hub.HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        files = {FILE: path}
        if not api.file_exists(name, "README.md"):
            files["README.md"] = readme(name, card).encode()
        operations = [hub.CommitOperationAdd(path_in_repo=to, path_or_fileobj=what) for to, what in files.items()]
        api.create_commit(name, operations, commit_message=f"segdla {card.get('version', '')}".strip())
    except Exception as error:  # as in download
        raise UserError(
            f"cannot upload to hf://{name} ({_first_line(error)}); log in (hf auth login) with a token that may write"
        ) from error
    return f"{_PREFIX}{name}"


def readme(name: str, card: dict[str, Any]) -> str:
    """What a model's page says."""
    config, scores = card["config"], card.get("scores", {})
    told = f"{config['model']['backbone']}, trained on {card.get('protocol') or config['data']['dataset']}"
    return f"""---
library_name: segdla
pipeline_tag: image-segmentation
---
# {name}

{told}{f"; mIoU on {scores['split']}: {100 * scores['mean_iou']:.2f} %" if "split" in scores else ""}.

```python
import segdla  # pip install segdla[hub]

ids = segdla.load("hf://{name}").predict("photo.jpg")  # (height, width) uint8
```

Classes, in the order of their ids: {", ".join(card["classes"])}.
"""


def _library(name: str) -> Any:
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is not a name on the Hugging Face Hub; write {_PREFIX}OWNER/NAME")
    try:
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError:
        raise UserError(f"{_PREFIX}{name} takes the package huggingface_hub: pip install segdla[hub]") from None
    return huggingface_hub


def _answers(hub: Any, name: str) -> bool:
    """Whether the hub answers, be it with an error, within seconds."""
    if hub.constants.HF_HUB_OFFLINE:
        return False
    said: list[bool] = []

    def ask() -> None:
        try:
            hub.get_hf_file_metadata(hub.hf_hub_url(name, FILE), timeout=_SECONDS)
            said.append(True)
        except hub.errors.HfHubHTTPError:
            said.append(True)
        except Exception:  # no network, in one of many ways
            said.append(False)

    asking = Thread(target=ask, daemon=True)  # left behind where it hangs in looking up a name
    asking.start()
    asking.join(_SECONDS)
    return said == [True]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
