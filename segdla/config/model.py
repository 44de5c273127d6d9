"""The config's section ``model``: the network, its defaults and limits."""

import difflib
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from segdla.config.section import Fraction, PathText, PositiveFraction, Section
from segdla.errors import UserError

Variant = Literal[
    "dla34", "dla46_c", "dla46x_c", "dla60x_c", "dla60", "dla60x", "dla102", "dla102x", "dla102x2", "dla169"
]
Network = Literal["torchvision/fcn_resnet50", "torchvision/deeplabv3_resnet50", "torchvision/lraspp_mobilenet_v3_large"]
NodeName = Literal["concat", "residual", "sum", "attention", "deformable"]
HeadName = Literal["softmax", "sigmoid"]
TIMM = "timm/"
"""Before a name of timm's."""
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""Statistics of ImageNet's images, RGB scaled to 0..1."""


def _known(name: str) -> str:
    """Return a backbone's name. timm knows its own names; it is asked when the network is built."""
    if name in get_args(Variant) or (name.startswith(TIMM) and name != TIMM):
        return name
    choices = ", ".join(map(repr, get_args(Variant)))
    if name in get_args(Network):
        hint = f"; {name} is a whole network: set model.network to it"
    else:
        near = difflib.get_close_matches(name, get_args(Variant), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
    raise PydanticCustomError("backbone", "Input should be {expected}", {"expected": f"{choices} or timm/NAME{hint}"})


Backbone = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": list(get_args(Variant))},
                {"type": "string", "pattern": f"^{TIMM}.+", "examples": [f"{TIMM}NAME"]},
            ]
        }
    ),
]


class ModelConfig(Section):
    """The network."""

    backbone: Backbone = "dla34"
    """Variant of DLA (_c is compact, x is ResNeXt-like, the number counts layers), or a network of timm, such as
    timm/resnet18."""
    output_stride: Literal[2, 4, 8, 16, 32] = 2
    """Stride of the decoder's output: 2 is the most exact, 8 is fast. 32 is that of decoder: none."""
    aggregation: Literal["none", "shallow", "iterative", "tree", "reentrant", "hierarchical"] = "hierarchical"
    """How the backbone aggregates the blocks of a level, as in the paper's figure 2. hierarchical is DLA; the others
    compute the same blocks, and ImageNet weights do not fit them."""
    decoder: Literal["ida", "shallow", "none", "pool"] = "ida"
    """How the levels become one map. ida: the paper's IDA-up. shallow: a sum of skips, like FCN's. none: the deepest
    level alone, whose logits are interpolated. pool: its mean over the image, for one label an image, as of
    data.dataset: image_folder, which sets it."""
    node: NodeName | None = None
    """How maps are merged, in backbone and IDA-up. concat and residual are the paper's, sum adds before convolving,
    attention is AFA-DLA's, deformable convolves as in CenterNet (by torchvision). The default is the paper's: concat,
    and in the backbones from dla102 on residual."""
    backbone_node: NodeName | None = None
    """The same in the backbone alone, if it is not that of node. ImageNet weights fit concat (from dla102 on,
    residual)."""
    upsample: Literal["learned", "bilinear"] = "learned"
    """How the decoder upsamples: by the paper's transposed convolutions, which learn, or by fixed interpolation."""
    head: HeadName = "softmax"
    """How logits become classes. softmax: a logit for each class, and the largest wins. sigmoid: one logit for two
    classes, and a pixel is of the second where its probability is above eval.threshold; or, with data.overlap: keep,
    one for each class, which is there or not whatever the others are."""
    weights: PathText | None = None
    """Pretrained weights to start from: imagenet, the best classification weights known for the backbone; timm/NAME or
    timm/NAME.TAG; a file name of the authors, such as dla34-ba72cf86.pth; hf://OWNER/NAME; a run; or a file (.pth or
    .safetensors), for classification or segmentation. A classifier for another number of classes is left out."""
    mean: tuple[Fraction, Fraction, Fraction] | None = None
    """Mean of the images' red, green and blue, scaled to 0..1. By default that of the weights, else that which timm
    gives for its backbone, and ImageNet's for all others. A run keeps the numbers."""
    std: tuple[PositiveFraction, PositiveFraction, PositiveFraction] | None = None
    """Standard deviation of the same."""
    network: Network | None = None
    """Whole network of torchvision, to compare with, in place of a backbone and a decoder."""

    @property
    def title(self) -> str:
        """The network, its output stride and what of it is not the paper's, in words."""
        if self.decoder == "pool":
            return f"{self.backbone}, for whole images"
        chosen: dict[str, str | None] = {"aggregation": self.aggregation, "decoder": self.decoder}
        chosen |= {"node": self.node, "backbone node": self.backbone_node, "head": self.head}
        usual = ("hierarchical", "ida", "softmax", None)
        others = "".join(f", {word} {value}" for word, value in chosen.items() if value not in usual)
        return f"{self.network or f'{self.backbone}, output stride {self.output_stride}'}{others}"

    def require_head_for(self, num_classes: int, overlapping: bool) -> None:
        """Raise UserError if the head is not for so many classes, which overlap or exclude each other."""
        if overlapping and self.head == "softmax":
            raise UserError("data.overlap: keep takes model.head: sigmoid; with softmax a pixel is of one class")
        if self.head == "sigmoid" and num_classes != 2 and not overlapping:
            raise UserError(
                f"model.head sigmoid is for two classes, of which the second is the object, or for classes that may "
                f"overlap (data.overlap: keep); for {num_classes}, set it to softmax"
            )

    @model_validator(mode="after")
    def _require_keys_of_the_network(self) -> Self:
        fields = type(self).model_fields
        changed = [name for name, field in fields.items() if getattr(self, name) != field.default]
        foreign: set[str] = set()
        if self.network is not None:
            foreign = {*changed} - {"network", "head", "weights", "mean", "std"}
        elif self.backbone.startswith(TIMM):
            foreign = {*changed} & {"aggregation", "backbone_node", *(() if self.decoder == "ida" else ("node",))}
        if foreign:
            owner = self.network or self.backbone
            raise ValueError(f"{owner} has no {' and no '.join(sorted(foreign))}; leave that out, or leave out {owner}")
        return self

    @model_validator(mode="after")
    def _require_a_decoder_for_the_stride(self) -> Self:
        if self.decoder == "pool":
            foreign = [key for key in ("output_stride", "upsample", "head") if key in self.model_fields_set]
            changed = [key for key in foreign if getattr(self, key) != type(self).model_fields[key].default]
            if changed:
                raise ValueError(f"decoder pool gives one label an image, and has no {changed[0]}; leave that out")
            return self
        if self.decoder == "none" and self.output_stride != 32:
            raise ValueError(
                f"decoder none reads the maps of stride 32 alone; set output_stride (now {self.output_stride}) to 32"
            )
        if self.decoder != "none" and self.output_stride == 32:
            raise ValueError(
                f"output_stride 32 leaves decoder {self.decoder} nothing to merge; lower it, or set decoder: none"
            )
        return self
