"""The configuration: typed, frozen, strict. Defaults are here; a YAML file holds only what differs from them.

``load("configs/x.yaml", ["train.lr=0.02"])`` gives a ``Config``. Whatever does not fit is one UserError that names the
key, the value and the nearest key that exists.
"""

import difflib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

from segdla.config_data import (
    CamVidConfig,
    CityscapesConfig,
    FolderConfig,
    Fraction,
    PositiveFraction,
    ScenesConfig,
    Section,
)
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
    """File of pretrained weights (.pth or .safetensors): classification or segmentation, the authors', timm's, ours."""
    mean: tuple[Fraction, Fraction, Fraction] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFraction, PositiveFraction, PositiveFraction] = (0.229, 0.224, 0.225)
    """Statistics of images scaled to 0..1, RGB."""


class TrainConfig(Section):
    epochs: PositiveInt = 100
    batch_size: PositiveInt = 16
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: PositiveFloat = 0.01
    momentum: Fraction = 0.9
    """Of SGD; AdamW has its own."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    power: Annotated[float, Field(ge=0)] = 0.9
    """Exponent of the poly schedule, which falls from lr to 0 step by step."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which lr first rises from a hundredth of itself."""
    class_weights: tuple[PositiveFloat, ...] | None = None
    """Weight of each class in the loss, in the order of the classes; null: all 1."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Where the device lacks bf16, fp32 is used."""
    channels_last: bool = True
    device: str = "auto"
    """auto: CUDA, else MPS, else the CPU; or a torch device."""
    seed: Annotated[int, Field(ge=0)] = 0
    eval_every: PositiveInt = 1
    """Epochs between evaluations on whole validation images; the last epoch is always evaluated."""
    report_every: PositiveInt = 10
    """Steps between lines in metrics.jsonl."""


class EvalConfig(Section):
    scales: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.5, 0.75, 1.0, 1.25, 1.5)
    """What --multiscale sums over."""
    merge: Literal["logprobs", "probs", "logits"] = "logprobs"
    """What is summed over scales, flips and windows: log-softmax (the authors'), softmax, or raw logits."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of a window that its neighbour covers too."""
    batch_size: PositiveInt = 1


class Config(Section):
    data: Annotated[ScenesConfig | CamVidConfig | CityscapesConfig | FolderConfig, Field(discriminator="dataset")]
    model: ModelConfig = ModelConfig()
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
    return parse(_yaml(text, str(path)), overrides, source=str(path))


def parse(values: Any, overrides: Sequence[str] = (), source: str = "config") -> Config:
    """The config in nested dicts, with overrides; ``source`` names them in errors."""
    if not isinstance(values, dict):
        raise UserError(f"{source}: a config is a mapping of sections (data, model, train, eval), not {values!r}")
    for override in overrides:
        values = _override(values, override)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = dict.fromkeys(_explain(problem) for problem in error.errors())
        raise UserError(f"{source}: {'; '.join(problems)}") from None


def dump(config: Config) -> str:
    """The whole config as YAML, defaults included."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=110)


def schema() -> dict[str, Any]:
    """JSON schema of the YAML files, for editors."""
    return Config.model_json_schema()


def _yaml(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
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


def _explain(problem: dict[str, Any]) -> str:
    """One of pydantic's findings as a sentence: key, value, remedy."""
    path = _path(problem["loc"])
    key = ".".join(map(str, path))
    match problem["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(path[-1]), _siblings(problem["loc"]), n=1, cutoff=0.5)
            hint = f", did you mean '{'.'.join(map(str, [*path[:-1], near[0]]))}'?" if near else ""
            return f"unknown key '{key}'{hint}"
        case "missing" | "union_tag_not_found":
            return f"'{key + '.dataset' if key == 'data' and problem['type'] != 'missing' else key}' is missing"
        case "union_tag_invalid":
            return f"data.dataset is {problem['ctx']['tag']!r}; it must be one of {problem['ctx']['expected_tags']}"
        case "value_error":
            return f"'{key}': {problem['ctx']['error']}"
        case _:
            return f"'{key}' is {problem['input']!r}: {problem['msg'].replace('Input should', 'it should', 1)}"


def _path(location: tuple[str | int, ...]) -> list[str | int]:
    """Pydantic's location as the user wrote it: without the name of the data set that it tells sections apart by."""
    return [part for i, part in enumerate(location) if not (i == 1 and location[0] == "data")]


def _siblings(location: tuple[str | int, ...]) -> list[str]:
    """The keys that would have been right where the last of ``location`` is not."""
    section: Any = Config
    for part in location[:-1]:
        choices = typing.get_args(section) if isinstance(section, types.UnionType) else ()
        if choices:
            section = next(c for c in choices if typing.get_args(c.model_fields["dataset"].annotation)[0] == part)
        elif isinstance(section, type) and issubclass(section, Section):
            section = section.model_fields[str(part)].annotation
            if isinstance(section, types.UnionType) and type(None) in typing.get_args(section):
                section = typing.get_args(section)[0]
        else:
            return []
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, Section) else []
