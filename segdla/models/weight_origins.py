"""Origins of pretrained weights: each says whether they are on this machine, and fetches them if it can.

An origin also knows how the images were normalised that the weights were trained on: they are worth little for images
that are normalised otherwise.
"""

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from segdla.errors import UserError
from segdla.machine.hub_file import OUT_OF_REACH, AbsentError, cached_file, hub_file, hub_library, hub_size, sha256

Statistics = tuple[float, float, float]
Normalisation = tuple[Statistics, Statistics]
"""Mean and standard deviation of red, green and blue, scaled to 0..1."""

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights in a repository, the best first."""
_DIGITS = re.compile(r"-([0-9a-f]{8,64})\.\w+$")


@dataclass(frozen=True)
class KnownFile:
    """A file of a known name and hash: here, in torch's folder of weights, or in an installed package.

    ``remedy`` says what to do if it is missing. ``normalisation`` is the backbone's own if it is None.
    """

    name: str
    remedy: str
    package: str = ""
    normalisation: Normalisation | None = None

    def at_hand(self) -> Path | None:
        """Return the file on this machine, if there is one. Raises UserError if its hash is not that of its name."""
        spec = find_spec(self.package.replace("-", "_")) if self.package else None  # imports nothing
        packaged = [Path(folder, "models") for folder in (spec and spec.submodule_search_locations) or ()]
        places = [folder / self.name for folder in (Path(), downloads(), *packaged)]
        path = next((place for place in places if os.path.isfile(place)), None)  # noqa: PTH113 (long names are none)
        if path is not None and (match := _DIGITS.search(self.name)):
            digits, digest = match[1], sha256(path)
            if not digest.startswith(digits):
                raise UserError(
                    f"{path} is damaged: its SHA-256 begins with {digest[: len(digits)]}, not with the {digits} of its "
                    "name; get it again, or remove it"
                )
        return path

    def fetch(self) -> Path:
        """Return the file on this machine. Raises UserError if there is none."""
        if (path := self.at_hand()) is None:
            raise UserError(f"{self.name} is not on this machine; {self.remedy}")
        return path


@dataclass(frozen=True)
class PublishedWeights:
    """Weights in a repository of the Hugging Face Hub that stay as they are: once downloaded, it isn't asked again.

    ``otherwise`` is another way to them. A file that was downloaded by hand is found in torch's folder of weights.
    """

    name: str
    repo: str
    file: str = HUB_FILES[0]
    normalisation: Normalisation | None = None
    otherwise: str = ""

    def at_hand(self) -> Path | None:
        """Return the file on this machine, if there is one. Raises UserError if it is damaged."""
        return self._by_hand if self._by_hand.is_file() else cached_file(self.repo, self.file)

    def fetch(self) -> Path:
        """Return the file, downloaded unless it is on this machine. Raises UserError if it can't be had."""
        return self.at_hand() or hub_file(self.repo, self.file, offline=self._remedy)

    def require_reachable(self) -> int:
        """Return the size in bytes of what would be downloaded. Raises UserError if nothing can be."""
        size = hub_size(self.repo, self.file)
        if size is None:
            raise UserError(f"{self.name} is not on this machine yet and {OUT_OF_REACH}; {self._remedy}")
        return size

    @property
    def _by_hand(self) -> Path:
        return downloads() / f"{self.repo.rpartition('/')[2]}{Path(self.file).suffix}"

    @property
    def _remedy(self) -> str:
        url = hub_library(self.name).hf_hub_url(self.repo, self.file)
        return f"download {url} as {self._by_hand}{self.otherwise}, or name another file"


@dataclass(frozen=True)
class HubAddress:
    """Weights of anyone on the Hugging Face Hub, ``hf://OWNER/NAME``: the newest, as long as the hub can be reached."""

    name: str
    repo: str
    revision: str = ""
    normalisation = None

    def at_hand(self) -> Path | None:
        """Return the file on this machine, if there is one. Raises UserError if it is damaged."""
        cached = (cached_file(self.repo, file, self.revision) for file in HUB_FILES)
        return next((path for path in cached if path is not None), None)

    def fetch(self) -> Path:
        """Return the file, downloaded unless it is on this machine. Raises UserError if it can't be had."""
        first, second = HUB_FILES
        with suppress(AbsentError):
            return hub_file(self.repo, first, self.revision)
        return hub_file(self.repo, second, self.revision, absent=f"nor {first}; give another name")

    def require_reachable(self) -> int:
        """Return the size in bytes of what would be downloaded. Raises UserError if nothing can be."""
        first, second = HUB_FILES
        try:
            size = hub_size(self.repo, first, self.revision)
        except AbsentError:
            size = hub_size(self.repo, second, self.revision)
        if size is None:
            raise UserError(f"{self.name} is not on this machine yet and {OUT_OF_REACH}; load it once with a network")
        return size


@dataclass(frozen=True)
class OwnFile:
    """A file of weights, or the folder of a run that holds one."""

    name: str
    normalisation = None

    def at_hand(self) -> Path | None:
        """Return the path, if there is something."""
        return Path(self.name) if os.path.exists(self.name) else None  # noqa: PTH110 (long names are none)

    def fetch(self) -> Path:
        """Return the path. Raises UserError if there is nothing."""
        if (path := self.at_hand()) is None:
            raise UserError(
                f"no weights file at {self.name}; give the path of a .pth or .safetensors file, a run, or a name "
                "(imagenet, timm/NAME, hf://OWNER/NAME)"
            )
        return path


Origin = KnownFile | PublishedWeights | HubAddress | OwnFile


def downloads() -> Path:
    """Return torch's folder of downloaded weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def whereabouts(origin: Origin) -> str:
    """Return in words where weights are. Raises UserError if they are not on this machine and can't be downloaded."""
    path = origin.at_hand()
    if path is None and isinstance(origin, PublishedWeights | HubAddress):
        return f"{origin.name}, {origin.require_reachable() / 1e6:.1f} MB, will be downloaded when training begins"
    path = path or origin.fetch()
    return f"{origin.name}, on this machine" + (f" ({path})" if str(path) != origin.name else "")


def normalisation_of_trained(path: Path) -> Normalisation | None:
    """Return how a checkpoint of ours, or the one in a run's folder, has its images normalised; None if it is none."""
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if len(files) != 1 or files[0].suffix != ".safetensors":
        return None
    try:
        with safe_open(files[0], framework="pt") as file:
            model = json.loads((file.metadata() or {})["card"])["config"]["model"]
        mean, std = ((float(r), float(g), float(b)) for r, g, b in (model["mean"], model["std"]))
    except (KeyError, OSError, SafetensorError, TypeError, ValueError):
        return None  # no card; in a damaged file the tensors can't be read either, and that is answered
    return mean, std
