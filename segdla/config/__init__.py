"""The config: typed, frozen, strict. The defaults are here; a YAML file holds only what differs from them.

``load_config("configs/x.yaml", {"train.lr": 0.02})`` returns a ``Config``. Anything wrong is one UserError that names
the key, the value and the nearest key that exists. ``python -m segdla.config`` prints the JSON schema, and with
``--markdown`` the reference of all keys.
"""

from segdla.config.annotations import AnnotationsConfig, AnnotationSplit
from segdla.config.data import (
    CamVidConfig,
    CityscapesConfig,
    DataConfig,
    FilesConfig,
    FolderConfig,
    MasksConfig,
    ScenesConfig,
)
from segdla.config.evaluation import EvalConfig
from segdla.config.image_folders import ImageFolderConfig, ImagesConfig, WholeImagesConfig
from segdla.config.load import dump, find_config, is_config, load_config, parse, parse_overrides, parse_yaml, schema
from segdla.config.loss import LossConfig
from segdla.config.model import IMAGENET, TIMM, HeadName, ModelConfig
from segdla.config.sections import Config
from segdla.config.training import TrainConfig

__all__ = [
    "IMAGENET",
    "TIMM",
    "AnnotationSplit",
    "AnnotationsConfig",
    "CamVidConfig",
    "CityscapesConfig",
    "Config",
    "DataConfig",
    "EvalConfig",
    "FilesConfig",
    "FolderConfig",
    "HeadName",
    "ImageFolderConfig",
    "ImagesConfig",
    "LossConfig",
    "MasksConfig",
    "ModelConfig",
    "ScenesConfig",
    "TrainConfig",
    "WholeImagesConfig",
    "dump",
    "find_config",
    "is_config",
    "load_config",
    "parse",
    "parse_overrides",
    "parse_yaml",
    "schema",
]
