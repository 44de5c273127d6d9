"""From the config to the network."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from segdla.config import IMAGENET, TIMM, Config, ModelConfig, parse
from segdla.errors import UserError
from segdla.machine import distributed
from segdla.machine.terminal import say
from segdla.models.aggregation import AGGREGATIONS
from segdla.models.dla import VARIANTS
from segdla.models.dlaseg import Backbone, DLASeg
from segdla.models.ida import ConcatNode, DLAUp, Node, Upsampler
from segdla.models.named_weights import BEST_KNOWN, exact_backbone, imagenet_weights, origin
from segdla.models.nodes import NODES
from segdla.models.skips import GlobalPool, LastMap, SkipSum
from segdla.models.timm_backbone import TimmBackbone, published
from segdla.models.timm_trunk import TimmTrunk, state_of_trunk
from segdla.models.torchvision_networks import build_torchvision
from segdla.models.upsample import UPSAMPLERS
from segdla.models.weight_origins import Normalisation, Origin, OwnFile, normalisation_of_trained, whereabouts
from segdla.models.weights import Loaded, load_weights, read_state_dict

DECODERS: dict[
    str, Callable[[Sequence[int], Sequence[int], Upsampler, Node], DLAUp | SkipSum | LastMap | GlobalPool]
] = {
    "ida": DLAUp,
    "shallow": lambda channels, strides, upsampler, node: SkipSum(channels, strides, upsampler),
    "none": lambda channels, strides, upsampler, node: LastMap(channels, strides),
    "pool": lambda channels, strides, upsampler, node: GlobalPool(channels[-1]),
}


def build_network(model: ModelConfig, num_classes: int) -> DLASeg:
    """Return the network, freshly initialised; ``model.weights`` are not loaded."""
    mean, std = normalisation(model)
    if model.network is not None:
        return build_torchvision(model.network, num_classes, mean, std)
    backbone = build_backbone(model)
    stride = GlobalPool.output_stride if model.decoder == "pool" else model.output_stride
    if stride not in backbone.strides:
        raise UserError(
            f"{model.backbone} gives maps at strides {', '.join(map(str, backbone.strides))}; set model.output_stride "
            f"(now {model.output_stride}) to one of them"
        )
    first = backbone.strides.index(stride)
    decoder = DECODERS[model.decoder](
        backbone.channels[first:],
        backbone.strides[first:],
        UPSAMPLERS[model.upsample],
        NODES[model.node].decoder if model.node else ConcatNode,
    )
    return DLASeg(backbone, decoder, num_classes, mean, std)


def build_backbone(model: ModelConfig) -> Backbone:
    """Return the backbone, freshly initialised. Raises UserError if it is one that timm does not have."""
    if model.backbone.startswith(TIMM):
        kind = TimmTrunk if model.decoder == "pool" else TimmBackbone
        return kind(model.backbone.removeprefix(TIMM))
    name = model.backbone_node or model.node
    node = NODES[name].backbone if name else None
    return VARIANTS[model.backbone](level=AGGREGATIONS[model.aggregation], node=node)


def has_windows(model: ModelConfig) -> bool:
    """Return whether the backbone looks at windows of its maps, as Swin and others for images of one size do."""
    if model.network is not None or not model.backbone.startswith(TIMM):
        return False
    return bool(published(model.backbone.removeprefix(TIMM)).fixed_input_size)


def normalisation(model: ModelConfig) -> Normalisation:
    """Return mean and standard deviation of the images: the config's, else timm's for its backbone, else ImageNet's."""
    if model.network is None and model.backbone.startswith(TIMM):
        facts = published(model.backbone.removeprefix(TIMM))
        known = {"mean": tuple(facts.mean), "std": tuple(facts.std)}
    else:
        known = IMAGENET
    return model.mean or known["mean"], model.std or known["std"]


def completed(config: Config, *, is_new: bool = True) -> Config:
    """Return the config with the numbers of the normalisation, which a run keeps: another timm may have others.

    A new run gets the exact name of its weights too, whose normalisation it follows unless the config has its own; they
    are downloaded for it. Raises UserError if they can't be had.
    """
    model = with_exact_weights(config.model) if is_new else config.model
    mean, std = normalisation(model)
    return config.model_copy(update={"model": model.model_copy(update={"mean": mean, "std": std})})


def with_exact_weights(model: ModelConfig) -> ModelConfig:
    """Return the section with the exact name of its weights and their normalisation, unless it has its own.

    Raises UserError if they can't be had.
    """
    if not model.weights:
        return model
    weights = origin_of(model)
    path = weights.fetch()
    mean, std = weights.normalisation or normalisation_of_trained(path) or (None, None)
    return model.model_copy(update={"weights": weights.name, "mean": model.mean or mean, "std": model.std or std})


def load_initial_weights(network: DLASeg, model: ModelConfig) -> None:
    """Load ``model.weights``, if there are any, and print how much of the network they fill.

    A classifier of other classes is left out. Raises UserError if there are none, they can't be read or don't fit.
    """
    if not model.weights:
        return
    weights = origin_of(model)
    loaded = _load(network, weights.fetch(), weights.name)
    if distributed.is_main():
        say(str(loaded))
        if other := exact_backbone(weights, model.backbone):
            say(f"{weights.name} was trained in {other}, which pads otherwise; it fits that exactly")


def _load(network: DLASeg, path: Path, name: str) -> Loaded:
    """Load the weights in a file. Raises UserError if it can't be read or does not fit; ``name`` names it."""
    state, backbone = read_state_dict(path), network.backbone
    if isinstance(backbone, TimmBackbone) and (whole := state_of_trunk(backbone.name, state, name)):
        state = backbone.of_whole(whole)
    elif isinstance(backbone, TimmBackbone | TimmTrunk) and not any("backbone." in key for key in state):
        state = backbone.renamed(state, name)
    return load_weights(network, state, name, other_classes=True)


def section_of_backbone(name: str) -> ModelConfig:
    """Return the section of a backbone of timm's, ``timm/NAME`` or ``timm/NAME.TAG``, with the weights of that name.

    They are the best known without a tag. Raises UserError if they can't be had.
    """
    values = {"backbone": name, "weights": name if "." in name else BEST_KNOWN}
    return with_exact_weights(parse({"data": {"dataset": "scenes"}, "model": values}, source=name).model)


def pretrained_backbone(model: ModelConfig) -> DLASeg:
    """Return the backbone with its weights, in a network that normalises images and whose logits mean nothing.

    Raises UserError if the weights don't fit.
    """
    backbone, weights = build_backbone(model), origin_of(model)
    network = DLASeg(backbone, LastMap(backbone.channels[-1:], backbone.strides[-1:]), 1, *normalisation(model))
    _load(network, weights.fetch(), weights.name)
    return network


def origin_of(model: ModelConfig) -> Origin:
    """Return the origin of ``model.weights``, which are set. Raises UserError if there are none of that name."""
    assert model.weights
    weights = origin(model.weights, model.backbone)
    if model.network is not None and not isinstance(weights, OwnFile):
        raise UserError(f"model.weights {model.weights} is for backbones of DLA and timm; give {model.network} a file")
    return weights


def about_weights(model: ModelConfig) -> str:
    """Return a line about the weights to start from: where they are, or what they might be; "" if there are none.

    Raises UserError if they are not on this machine and can't be downloaded.
    """
    if model.weights:
        return f"model.weights: {whereabouts(origin_of(model))}"
    usual = model.aggregation == "hierarchical" and model.node is None and model.backbone_node is None
    known = imagenet_weights(model.backbone) if model.network is None and usual else []
    if not known:
        return ""
    name = known[0].name
    return f"{model.backbone} starts at random; with model.weights={BEST_KNOWN} it starts from {name} (downloaded once)"


def create_model(backbone: str = "dla34", num_classes: int = 19, **settings: object) -> DLASeg:
    """Return a segmentation network, an ``nn.Module``: RGB images (B,3,H,W) in 0..255 to logits (B,C,H,W).

    With ``decoder="pool"`` it is a classification network, of logits (B,C,1,1).

    ``backbone`` may be timm's too: ``timm/resnet18``. ``settings`` are those of the config's ``model`` section:
    ``output_stride``, ``aggregation``, ``decoder``, ``node``, ``backbone_node``, ``upsample``, ``weights``, ``mean``,
    ``std``, ``network``. Weights with another number of classes fill all but the classifier.

    Raises UserError, with the remedy, if one of them does not fit.
    """
    if num_classes < 1:
        raise UserError(f"create_model: num_classes is {num_classes}; give the number of classes, 1 or more")
    pools = settings.get("decoder") == "pool"
    data = {"dataset": "image_folder", "root": "."} if pools else {"dataset": "scenes"}
    values = {"data": data, "model": {"backbone": backbone, **settings}}
    model = with_exact_weights(parse(values, source="create_model").model)
    network = build_network(model, num_classes)
    load_initial_weights(network, model)
    return network


def memory_format(channels_last: bool) -> torch.memory_format:
    """Return the layout of a network's tensors in memory."""
    return torch.channels_last if channels_last else torch.contiguous_format
