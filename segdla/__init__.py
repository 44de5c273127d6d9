"""segdla: semantic segmentation with Deep Layer Aggregation.

``import segdla`` is cheap: every name below is imported when it is first used (PEP 562). docs/python.md shows them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segdla.config import Config, load_config
    from segdla.data.label_files.regions import polygons
    from segdla.data.source import Classes, Source
    from segdla.doctor.from_config import convert
    from segdla.errors import UserError
    from segdla.evaluation.comparison import compare
    from segdla.evaluation.evaluator import Evaluator, Prediction
    from segdla.evaluation.scores import Scores
    from segdla.models.from_config import create_model
    from segdla.report.compose import write_report
    from segdla.trained.check_labels import check
    from segdla.trained.classifier import Classifier, load_classifier
    from segdla.trained.score import evaluate
    from segdla.trained.segmenter import Segmenter, load
    from segdla.training import losses
    from segdla.training.lr_range.from_config import find_lr
    from segdla.training.run import Run, resume, train
    from segdla.version import __version__

_HOME = {
    "Classes": "segdla.data.source",
    "Classifier": "segdla.trained.classifier",
    "Config": "segdla.config",
    "Evaluator": "segdla.evaluation.evaluator",
    "Prediction": "segdla.evaluation.evaluator",
    "Run": "segdla.training.run",
    "Scores": "segdla.evaluation.scores",
    "Segmenter": "segdla.trained.segmenter",
    "Source": "segdla.data.source",
    "UserError": "segdla.errors",
    "__version__": "segdla.version",
    "check": "segdla.trained.check_labels",
    "compare": "segdla.evaluation.comparison",
    "convert": "segdla.doctor.from_config",
    "create_model": "segdla.models.from_config",
    "evaluate": "segdla.trained.score",
    "find_lr": "segdla.training.lr_range.from_config",
    "load": "segdla.trained.segmenter",
    "load_classifier": "segdla.trained.classifier",
    "load_config": "segdla.config",
    "losses": "segdla.training.losses",
    "polygons": "segdla.data.label_files.regions",
    "resume": "segdla.training.run",
    "train": "segdla.training.run",
    "write_report": "segdla.report.compose",
}
__all__ = [
    "Classes",
    "Classifier",
    "Config",
    "Evaluator",
    "Prediction",
    "Run",
    "Scores",
    "Segmenter",
    "Source",
    "UserError",
    "__version__",
    "check",
    "compare",
    "convert",
    "create_model",
    "evaluate",
    "find_lr",
    "load",
    "load_classifier",
    "load_config",
    "losses",
    "polygons",
    "resume",
    "train",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'segdla' has no attribute {name!r}")
    home = import_module(_HOME[name])
    value = home if _HOME[name].endswith(f".{name}") else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
