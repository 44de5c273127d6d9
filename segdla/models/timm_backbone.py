"""Backbones of timm: every network there that gives a pyramid of maps, under its own name.

timm is an extra (``pip install "segdla[timm]"``), imported when a backbone of it is asked for.
"""

import difflib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segdla.errors import UserError, one_line, quoted
from segdla.models.efficientnet_names import with_timm_names
from segdla.models.layers import GroupedConv, with_grouped

_NEAREST = 3  # names in a message


class EvenSameConv(GroupedConv):
    """TensorFlow's padding, of maps whose sides are multiples of the stride: it is then the same for all sizes.

    timm's ``Conv2dSame`` computes it from the sizes, which keeps torch.export busy for minutes when they are symbols.
    """

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []  # left, right, top, bottom
        for kernel, stride, dilation in zip(
            reversed(self.kernel_size), reversed(self.stride), reversed(self.dilation), strict=True
        ):
            total = max(dilation * (kernel - 1) + 1 - stride, 0)
            pads += total // 2, total - total // 2
        return super().forward(F.pad(x, pads))


class TimmBackbone(nn.Module):
    """A network of timm's without its head: normalised images (B,3,H,W) to one map for each stride, finest first.

    H and W must be multiples of the last stride. ``mean`` and ``std`` are those that its weights were trained with.

    Raises UserError if timm is missing, has no such network, or the network gives no pyramid for images of any size.
    """

    def __init__(self, name: str):
        super().__init__()
        cfg = published(name)
        self.name = name
        self.mean, self.std = tuple(cfg.mean), tuple(cfg.std)
        self.body = with_grouped(_features(name))
        for module in self.body.modules():
            if type(module) is library().layers.Conv2dSame:
                module.__class__ = EvenSameConv
        self.channels = tuple(self.body.feature_info.channels())
        self.strides = tuple(self.body.feature_info.reduction())
        self.channels_are_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")
        self._require_pyramid(cfg)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.body(images)
        return [x.permute(0, 3, 1, 2) for x in maps] if self.channels_are_last else list(maps)

    def renamed(self, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
        """Return the backbone's part of the weights of timm's classification network, under our names.

        All of them must fit that network. Raises UserError if they don't; ``source`` names them in its message.
        """
        return self.of_whole(classifier(self.name, state, source).state_dict())

    def of_whole(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the backbone's part of the weights of timm's network under our names; its head may be missing."""
        log = logging.getLogger("timm")
        level = log.level
        log.setLevel(logging.ERROR)  # that the head is left out is as it should be
        try:
            backbone = _features(self.name, pretrained=True, pretrained_cfg_overlay={"state_dict": whole})
        finally:
            log.setLevel(level)
        return {f"backbone.body.{name}": tensor for name, tensor in backbone.state_dict().items()}

    def _require_pyramid(self, cfg: Any) -> None:
        """Raise UserError unless there are maps of several strides, of the sizes that these promise."""
        factors = [coarse / fine for fine, coarse in zip(self.strides, self.strides[1:], strict=False)]
        if not all(factor == 1 or factor % 2 == 0 for factor in factors) or len(set(self.strides)) < 2:
            raise UserError(
                f"timm/{self.name} has maps at strides {_listed(self.strides)}, which is no pyramid; choose a network "
                "whose strides double, such as timm/resnet18"
            )
        height, width = 3 * self.strides[-1], 2 * self.strides[-1]
        promised = [(1, c, height // s, width // s) for c, s in zip(self.channels, self.strides, strict=True)]
        self.eval()
        try:
            with torch.no_grad():
                shapes = [tuple(x.shape) for x in self(torch.zeros(1, 3, height, width))]
            reason = "" if shapes == promised else f"its maps are {_listed(shapes)}"
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            reason = one_line(" ".join(str(error).split()), 150) or type(error).__name__
        if reason:
            size = f"is for images of {'x'.join(map(str, cfg.input_size[1:]))}, and " if cfg.fixed_input_size else ""
            raise UserError(
                f"timm/{self.name} {size}can't take one of {height}x{width} ({reason}); choose a network for images "
                "of any size"
            )
        self.train()


def classifier(name: str, state: Mapping[str, Tensor], source: str) -> nn.Module:
    """Return timm's whole network for classification with these weights, which must all fit; old names do.

    Raises UserError if they don't; ``source`` names them in its message.
    """
    timm = library()
    # timm loads a backbone leniently, and a whole network strictly. The whole one also updates old names.
    settings = {"pretrained": True, "num_classes": published(name).num_classes}
    try:
        state = with_timm_names(state, lambda: _state_of(name))
        return timm.create_model(name, **settings, pretrained_cfg_overlay={"state_dict": state})
    except (KeyError, RuntimeError, ValueError) as error:
        reason = one_line(" ".join(str(error).split()), 200)
        raise UserError(f"{source} does not fit timm/{name} ({reason}); check model.backbone") from error


def _state_of(name: str) -> Mapping[str, Tensor]:
    """Return names and shapes of the tensors of timm's network for classification, without memory for them."""
    with torch.device("meta"):
        state: dict[str, Tensor] = library().create_model(name).state_dict()
    return state


def library() -> Any:
    """Return the package timm. Raises UserError if it is missing or broken."""
    try:
        import timm
    except Exception as error:  # a torchvision that does not match torch breaks it in ways of its own
        missing = isinstance(error, ModuleNotFoundError) and error.name == "timm"
        reason = "is not installed" if missing else f"can't be imported ({one_line(error, 150)})"
        raise UserError(f'the package timm {reason}; pip install "segdla[timm]", or choose another model') from error
    return timm


def published(name: str) -> Any:
    """Return timm's facts about a network: statistics of its images, where its weights are, ...

    ``name`` may end in a tag of its weights: ``resnet18.a1_in1k``. Raises UserError if timm knows no such name.
    """
    timm = library()
    if not timm.is_model(name):
        architectures = {choice.partition(".")[0] for choice in timm.list_models()}
        raise UserError(f"timm has no network {quoted(name)}{_nearest(name, architectures)}")
    try:
        cfg = timm.models.get_pretrained_cfg(name)
    except RuntimeError:  # an unknown tag
        tags = timm.list_pretrained(f"{name.partition('.')[0]}.*")
        raise UserError(f"timm has no weights {quoted(name)}{_nearest(name, tags)}") from None
    return cfg if cfg is not None else timm.models.PretrainedCfg()


def without_weights(name: str) -> str:
    """Return a line about a network whose weights timm has on no hub."""
    if url := published(name).url:
        return f"the weights of timm/{name} are on no hub; download {url}, and set model.weights to it"
    others = _nearest(name, library().list_pretrained())
    return f"timm publishes no weights for {name}{others}; name others, or none to begin at random"


def _features(name: str, **settings: Any) -> Any:
    """Build timm's network that returns maps; if it can, it takes images of any size."""
    timm = library()
    settings = {"features_only": True, **settings}
    try:
        if timm.models.get_pretrained_cfg_value(name, "fixed_input_size"):
            try:
                return timm.create_model(name, strict_img_size=False, **settings)
            except TypeError:  # most have no such setting
                pass
        return timm.create_model(name, **settings)
    except (AttributeError, NotImplementedError, TypeError) as error:
        reason = one_line(error, 150)
        raise UserError(f"timm/{name} gives no maps ({reason}); choose another network, as timm/resnet18") from error


def _nearest(name: str, choices: Any) -> str:
    near = difflib.get_close_matches(name, list(choices), n=_NEAREST, cutoff=0.5)
    return f"; the nearest names are {', '.join(near)}" if near else "; timm.list_models() lists all"


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
