"""The reference of all keys as Markdown, made from the docstrings: docs/config.md."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from segdla.config.annotations import AnnotationsConfig, AnnotationSplit
from segdla.config.data import (
    AugmentConfig,
    CamVidConfig,
    CityscapesConfig,
    DataConfig,
    FilesConfig,
    FolderConfig,
    FolderSplit,
    MasksConfig,
    ScenesConfig,
)
from segdla.config.distill import DistillConfig
from segdla.config.evaluation import EvalConfig
from segdla.config.image_folders import ImageFolderConfig, ImagesConfig, WholeImageAugmentConfig, WholeImagesConfig
from segdla.config.loss import LossConfig
from segdla.config.model import ModelConfig
from segdla.config.public_sets import (
    ADE20KConfig,
    BDD100KConfig,
    COCOStuffConfig,
    KITTIConfig,
    MapillaryConfig,
    VOC2012Config,
)
from segdla.config.section import Section
from segdla.config.training import TrainConfig

COMMAND = "python -m segdla.config --markdown > docs/config.md"
_INTRODUCTION = f"""# Every key of the config

A config is a YAML file of five sections: `data`, `model`, `loss`, `train` and `eval`. It holds only what differs from
the defaults below; only `data.dataset` has none. Any key can also be set on the command line, as
`section.key=value`: `segdla train configs/quickstart.yaml train.lr=0.004 data.crop=[64,96]`. A key that does not exist
and a value that does not fit are answered before anything starts.

Editors complete and check the keys where a file begins with `# yaml-language-server: $schema=schema.json`;
`python -m segdla.config` prints that schema.

This page is made from the code: `{COMMAND}`.
"""
_SECTIONS: tuple[tuple[str, type[Section]], ...] = (
    ("data", DataConfig),
    ("data: masks", MasksConfig),
    ("data: scenes", ScenesConfig),
    ("data: files", FilesConfig),
    ("data: camvid", CamVidConfig),
    ("data: cityscapes", CityscapesConfig),
    ("data: ade20k", ADE20KConfig),
    ("data: voc2012", VOC2012Config),
    ("data: mapillary", MapillaryConfig),
    ("data: bdd100k", BDD100KConfig),
    ("data: coco_stuff", COCOStuffConfig),
    ("data: kitti", KITTIConfig),
    ("data: folder", FolderConfig),
    ("data: folder: train, val, test", FolderSplit),
    ("data: annotations", AnnotationsConfig),
    ("data: annotations: train, val, test", AnnotationSplit),
    ("data.augment", AugmentConfig),
    ("data: whole images", WholeImagesConfig),
    ("data: image_folder", ImageFolderConfig),
    ("data: images", ImagesConfig),
    ("data.augment of whole images", WholeImageAugmentConfig),
    ("model", ModelConfig),
    ("loss", LossConfig),
    ("train", TrainConfig),
    ("train.distill", DistillConfig),
    ("eval", EvalConfig),
)


def markdown() -> str:
    """Return the reference: a table for each section, with its keys, their values, defaults and meanings."""
    return "\n".join([_INTRODUCTION, *(line for title, section in _SECTIONS for line in _table(title, section))])


def _table(title: str, section: type[Section]) -> Iterator[str]:
    schema = section.model_json_schema()
    inherited = section.__bases__[0].model_fields if issubclass(section.__bases__[0], Section) else {}
    yield f"## {title}\n\n{_one_line(section.__doc__ or '')}\n"
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    for key, value in schema["properties"].items():
        if key not in inherited:
            default = "required" if key in schema.get("required", ()) else _default(value["default"])
            cells = f"`{key}`", _value(value), default, _one_line(value["description"])
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _default(value: Any) -> str:
    if isinstance(value, dict):
        return "see its own table"
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")
    return f"`{text}`"


def _value(schema: Mapping[str, Any]) -> str:
    """Return in words what a JSON schema allows."""
    if "$ref" in schema:
        return "a section"
    if "anyOf" in schema:
        return " or ".join(map(_value, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{choice}`" for choice in schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])}: {_value(schema['prefixItems'][0])}"
        case "array":
            return f"list: {_value(schema['items'])}"
        case "object":
            return "mapping"
        case "integer":
            return _bounded("whole number", schema)
        case "number":
            return _bounded("number", schema)
        case "boolean":
            return "`true`, `false`"
        case "null":
            return "`null`"
        case kind:
            assert kind == "string", schema
            return ", ".join(f"`{example}`" for example in schema.get("examples", ())) or "text"


def _bounded(word: str, schema: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {schema[name]}" for name, sign in signs.items() if name in schema)
    return f"{word} {bounds}".rstrip()
