"""Checkpoints on the Hugging Face Hub: ``hf://OWNER/NAME``, or ``hf://OWNER/NAME@REVISION``.

Checkpoints are up- and downloaded as they are: safetensors files, which hold tensors and text, and no code. The
package huggingface_hub does the work, which is an extra (``pip install "segdla[hub]"``).
"""

from pathlib import Path
from typing import Any

from segdla.checkpoints.checkpoint import Card
from segdla.errors import UserError
from segdla.evaluation.table import percent
from segdla.machine.hub_file import HUB, answers, first_line, hub_file, hub_library, split_address

FILE = "model.safetensors"
_RESEARCH = ("camvid", "cityscapes")  # data sets that are not for commercial use, nor is a network made of them


def download(address: str) -> Path:
    """Return the checkpoint file at an address, downloaded unless it is on this machine already.

    Raises UserError if there is none, or the hub can't be reached.
    """
    name, revision = split_address(address)
    return hub_file(name, FILE, revision, absent="it was not uploaded by save_to_hub; give another name")


def upload(name: str, path: Path, card: Card, private: bool) -> str:
    """Upload the checkpoint at ``path``, with its ``card``, as OWNER/NAME; return its address.

    The repository is created if there is none; a README that is there stays. Raises UserError if it can't be done.
    """
    name, revision = split_address(name)
    if revision:
        raise UserError(f"cannot upload to a revision (@{revision}); write hf://{name}")
    hub: Any = hub_library(f"{HUB}{name}")
    if path.suffix != ".safetensors":
        raise UserError(f"{path} is not a checkpoint of segdla; load the run that it was exported from, and save that")
    if not answers(hub, name, FILE):
        raise UserError(f"cannot upload to hf://{name}: the Hugging Face Hub can't be reached; try with a network")
    api = hub.HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        files: dict[str, Path | bytes] = {FILE: path}
        if not api.file_exists(name, "README.md"):
            files["README.md"] = readme(name, card).encode()
        operations = [hub.CommitOperationAdd(path_in_repo=to, path_or_fileobj=file) for to, file in files.items()]
        api.create_commit(name, operations, commit_message=f"segdla {card.version}".strip())
    except Exception as error:  # as in download
        raise UserError(
            f"cannot upload to hf://{name} ({first_line(error)}); log in (hf auth login) with a token that may write"
        ) from error
    return f"{HUB}{name}"


def readme(name: str, card: Card) -> str:
    """Return the text of a model's page."""
    model = card.config["model"]
    network = model.get("network") or model["backbone"]
    data = card.classes.protocol or card.config["data"]["dataset"]
    score = ""
    if card.scores is not None:
        split = card.scores.split + " (trained on)" * card.trained_on_val
        score = f"; {card.classes.measure} on {split}: {percent(card.scores.criterion)} %"
    start = f" It started from {model['weights']}." if model.get("weights") else ""
    if card.config["data"]["dataset"] in _RESEARCH:
        start += " The terms of the data that it was trained on forbid commercial use."
    return f"""---
library_name: segdla
pipeline_tag: image-segmentation
---
# {name}

{network}, trained on {data}{score}.{start}

```python
import segdla  # pip install "segdla[hub]"

ids = segdla.load("hf://{name}").predict("photo.jpg")  # (height, width) uint8
```

Classes, in the order of their ids: {", ".join(card.classes.names)}.
"""
