"""The configuration: typed, frozen, strict. Defaults are here; a YAML file holds only what differs from them.

``load("configs/x.yaml", ["train.lr=0.02"])`` gives a ``Config``. Whatever does not fit is one UserError that names the
key, the value and the nearest key that exists.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from segdla.config.data import CamVidConfig, CityscapesConfig, FolderConfig, ScenesConfig
from segdla.config.explain import explain
from segdla.config.section import Fraction, NonNegative, PositiveFraction, Scale, Section
from segdla.errors import UserError


class ModelConfig(Section):
    backbone: Literal[
        "dla34", "dla46_c", "dla46x_c", "dla60x_c", "dla60", "dla60x", "dla102", "dla102x", "dla102x2", "dla169"
    ] = "dla34"
    output_stride: Literal[2, 4, 8] = 2
    """Stride of the decoder's output: 2 is the most exact, 8 the fastest."""
    upsample: Literal["learned", "bilinear"] = "learned"
    """How the decoder upsamples: the paper's transposed convolution, which learns, or fixed interpolation."""
    weights: str | None = None
    """File of pretrained weights (.pth or .safetensors): classification or segmentation, the authors', timm's, ours.
    A classifier of another number of classes is left out."""
    mean: tuple[Fraction, Fraction, Fraction] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFraction, PositiveFraction, PositiveFraction] = (0.229, 0.224, 0.225)
    """Statistics of images scaled to 0..1, RGB."""


class LossConfig(Section):
    """The training loss: a sum of terms, each with its weight; 0 leaves a term out."""

    cross_entropy: NonNegative = 1.0
    ohem: NonNegative = 0.0
    """Cross-entropy of the hard pixels alone (online hard example mining)."""
    dice: NonNegative = 0.0
    lovasz: NonNegative = 0.0
    """Lovasz-softmax, a surrogate of the IoU."""
    boundary: NonNegative = 0.0
    """One minus the boundaries' F1 score, with a tolerance of two pixels."""
    class_weights: tuple[NonNegative, ...] | Literal["median_frequency", "enet"] | None = None
    """Of cross_entropy and ohem: a number a class, in the order of the classes, or computed from the training masks."""
    label_smoothing: Fraction = 0.0
    """Of cross_entropy: the share of the target that is spread over all classes."""
    ohem_threshold: PositiveFraction = 0.7
    """Pixels whose true class has less than this probability are hard."""
    ohem_min_kept: Fraction = 0.0625
    """Share of a batch's pixels that count as hard at the least."""

    @model_validator(mode="after")
    def _something(self):
        if not any((self.cross_entropy, self.ohem, self.dice, self.lovasz, self.boundary)):
            raise ValueError("all terms are 0; give one a weight, such as cross_entropy: 1")
        if self.class_weights is not None and not (self.cross_entropy or self.ohem):
            raise ValueError("class_weights are of cross_entropy and ohem, which are 0; give one a weight or leave out")
        if self.label_smoothing and not self.cross_entropy:
            raise ValueError("label_smoothing is of cross_entropy, which is 0; give it a weight or leave out")
        if isinstance(self.class_weights, tuple) and not any(self.class_weights):
            raise ValueError("class_weights are all 0; then nothing is learned")
        return self


class TrainConfig(Section):
    epochs: PositiveInt = 100
    batch_size: PositiveInt = 16
    """Images of an optimizer step: over all devices and all parts of a step."""
    accumulate: PositiveInt = 1
    """Parts that a step's images are taken through the network in, where they don't fit at once. Cross-entropy stays
    what it is; batch normalisation, ohem, dice, lovasz and boundary are of each part by itself."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: PositiveFloat = 0.01
    backbone_lr: PositiveFloat = 1.0
    """Factor on lr for the backbone, ..."""
    decoder_lr: PositiveFloat = 1.0
    """... and for decoder and classifier."""
    momentum: Fraction = 0.9
    """Of SGD; AdamW has its own."""
    weight_decay: NonNegative = 1e-4
    decay_all: bool = True
    """Decay every parameter, as the authors do; false: neither batch normalisation's nor biases."""
    schedule: Literal["poly", "cosine", "step"] = "poly"
    """How lr falls, step by step: (1 - progress)^power to 0, half a cosine to 0, or by gamma at each milestone."""
    power: NonNegative = 0.9
    milestones: tuple[PositiveInt, ...] = ()
    """Epochs."""
    gamma: PositiveFraction = 0.1
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which lr first rises from a hundredth of itself."""
    clip_norm: PositiveFloat | None = None
    """Largest norm of the gradient of all parameters together; a larger one is scaled down."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a moving average of the weights, which is then evaluated and kept: 0.999 is over about 1000 steps.

    Early in a run it is over about a tenth of the steps so far."""
    sync_batchnorm: bool = True
    """Batch normalisation over the images of all devices."""
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    """Where the device lacks it, the nearest that it has is used."""
    channels_last: bool = True
    compile: bool = False
    """Compile the network for training: minutes at the start, faster steps."""
    cuda_graph: bool = False
    """On CUDA, in one process: launch a step's kernels as one graph, recorded at the first step. Faster where the GPU
    waits for the processor: with small crops, small networks or busy cores. Keeps a step's memory between steps."""
    deterministic: bool = False
    """On CUDA: the same run gives the same bits. On the CPU it does anyway."""
    device: str = "auto"
    """auto: CUDA, else MPS, else the CPU; or a torch device."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    eval_every: PositiveInt = 1
    """Epochs between evaluations on whole validation images; the last epoch is always evaluated."""
    report_every: PositiveInt = 10
    """Steps between lines in metrics.jsonl."""
    save_every: PositiveInt = 500
    """Steps between savings of what --resume starts from; it is also saved at each evaluation and stop."""
    skip_nonfinite: Annotated[int, Field(ge=0)] = 0
    """Batches without a finite loss and gradient that are left out before the run gives up (checked at every step)."""

    @model_validator(mode="after")
    def _complete(self):
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("schedule: step and milestones: [EPOCH, ...] go together; give both or neither")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not accumulate ({self.accumulate}) equal parts")
        return self


class EvalConfig(Section):
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = (0.5, 0.75, 1.0, 1.25, 1.5)
    """What --multiscale sums over."""
    merge: Literal["logprobs", "probs", "logits"] = "logprobs"
    """What is summed over scales, flips and windows: log-softmax (the authors'), softmax, or raw logits. The first and
    the last choose the same classes."""
    window: tuple[PositiveInt, PositiveInt] | Literal["auto", "whole"] = "auto"
    """What the network sees at a time, (height, width), by overlapping windows; whole: the image, whatever its size;
    auto: windows of 1024x2048 of images above 8.3 megapixels (at the largest scale), else the whole one."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of a window that its neighbour covers too, and in which one fades into the other."""
    low_memory: bool = False
    """Keep the scores of all scales at the output stride, not their sum at full size: the same classes in less memory,
    at output strides 4 and 8."""
    batch_size: PositiveInt = 1
    compile: bool = False
    """Compile the network for prediction: a minute or more at the start, then for images of any size."""


class Config(Section):
    data: Annotated[ScenesConfig | CamVidConfig | CityscapesConfig | FolderConfig, Field(discriminator="dataset")]
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The config in a YAML file, with ``section.key=value`` overrides; the values are YAML too.

    Raises UserError where the file or an override is not a valid config.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the config {path}: {getattr(error, 'strerror', error)}") from error
    return loads(text, overrides, source=str(path))


def loads(text: str, overrides: Sequence[str] = (), source: str = "config") -> Config:
    """The config in YAML text, with overrides; ``source`` names it in errors."""
    return parse(_yaml(text, source), overrides, source)


def parse(values: Any, overrides: Sequence[str] = (), source: str = "config") -> Config:
    """The config in nested dicts, with overrides; ``source`` names them in errors."""
    if not isinstance(values, dict):
        raise UserError(f"{source}: a config is a mapping of sections (data, model, loss, train, eval), not {values!r}")
    for override in overrides:
        values = _override(values, override)
    values = {key: {} if section is None else section for key, section in values.items()}  # all of it commented out
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: {'; '.join(explain(error.errors(), Config))}") from None


def dump(config: Config) -> str:
    """The whole config as YAML, defaults included."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=110)


def schema() -> dict[str, Any]:
    """JSON schema of the YAML files, for editors."""
    return Config.model_json_schema()


class _Loader(yaml.SafeLoader):
    """Reads YAML as its users mean it: a key given twice is a mistake, and what looks like a date is a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        again = next((key for key in keys if keys.count(key) > 1), None)
        if again is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {again!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{source}: not valid YAML ({' '.join(str(error).split())})") from None


def _override(values: dict[str, Any], override: str) -> dict[str, Any]:
    key, equals, value = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"override {override!r}: write section.key=value, as in train.lr=0.02")

    def place(values: Any, path: list[str]) -> Any:
        if not path:
            return _yaml(value, f"override {override!r}")
        values = values if isinstance(values, dict) else {}
        return {**values, path[0]: place(values.get(path[0]), path[1:])}

    return place(values, key.split("."))
