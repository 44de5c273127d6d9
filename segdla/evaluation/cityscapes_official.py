"""The official Cityscapes evaluator beside our score: both score the same predictions, as files of label ids."""

import contextlib
import importlib
import io
import math
import shutil
import tempfile
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segdla.data.cityscapes import CLASSES, LABEL_ID_OF
from segdla.data.image_writer import write_image
from segdla.errors import UserError
from segdla.evaluation.scores import Scores
from segdla.machine import distributed

TOLERANCE = 1e-9


class OfficialScore:
    """Predictions of train ids, written as the label ids that the official evaluator reads, and scored by it.

    ``truths`` are the files ``*_gtFine_labelIds.png`` by image name. Use it as a context: its files are temporary. All
    processes of one machine write their predictions; the main one runs the evaluator.
    """

    def __init__(self, truths: Mapping[str, Path]):
        self.truths = truths

    def __enter__(self) -> "OfficialScore":
        self._folder = distributed.on_main(lambda: Path(tempfile.mkdtemp(prefix="segdla-")))
        return self

    def __exit__(self, *_: object) -> None:
        if distributed.is_main():
            # After a failure other processes may still be writing there, which must not hide it.
            shutil.rmtree(self._folder, ignore_errors=True)

    def write(self, name: str, prediction: np.ndarray) -> None:
        """Write one image's train ids (H,W) uint8."""
        write_image(self._file(name), LABEL_ID_OF[prediction])

    def confirm(self, ours: Scores) -> dict[str, Any]:
        """Return the official scores of all processes' predictions. Raises UserError if ``ours`` differ from them."""
        return distributed.on_main(lambda: self._confirm_alone(ours))

    def _confirm_alone(self, scores: Scores) -> dict[str, Any]:
        ours = scores.as_dict()
        official = official_scores([self._file(name) for name in self.truths], list(self.truths.values()))
        for key in ("iou", "category_iou"):
            for name, value in ours[key].items():
                _agree(f"{key} of {name}", value, official[key][name])
        for key in ("mean_iou", "mean_category_iou"):
            _agree(key, ours[key], official[key])
        return official

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.png"


def official_scores(predictions: Sequence[Path], truths: Sequence[Path]) -> dict[str, Any]:
    """Score files of label ids with the official evaluator: iou and category_iou by name, and their means.

    If each truth has its ``*_instanceIds.png``, instance_iou and instance_category_iou (iIoU) too, and their means. A
    class that is not scored is NaN. Raises UserError if the evaluator refuses.
    """
    evaluator: Any = importlib.import_module("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")

    # It calls np.in1d, which numpy 2.4 no longer has: it gets a numpy of its own, in which isin has that name too.
    evaluator.np = types.SimpleNamespace(**{**vars(np), "in1d": np.isin})
    instances = all(Path(str(truth).replace("labelIds", "instanceIds")).is_file() for truth in truths)
    args = types.SimpleNamespace(**vars(evaluator.args))
    args.quiet, args.JSONOutput, args.evalInstLevelScore = True, False, instances
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            result = evaluator.evaluateImgLists(list(map(str, predictions)), list(map(str, truths)), args)
    except SystemExit:
        raise UserError(
            f"the official evaluator refused: {output.getvalue().strip().removeprefix('ERROR: ')}"
        ) from None
    scores = {
        "mean_iou": result["averageScoreClasses"],
        "mean_category_iou": result["averageScoreCategories"],
        "iou": {name: result["classScores"][name] for name in CLASSES.names},
        "category_iou": {name: result["categoryScores"][name] for name in CLASSES.categories},
    }
    if instances:
        scores |= {
            "mean_instance_iou": result["averageScoreInstClasses"],
            "mean_instance_category_iou": result["averageScoreInstCategories"],
            "instance_iou": {name: result["classInstScores"][name] for name in CLASSES.names},
            "instance_category_iou": {name: result["categoryInstScores"][name] for name in CLASSES.categories},
        }
    return scores


def _agree(name: str, ours: float, official: float) -> None:
    if math.isnan(ours) and math.isnan(official):
        return
    if not abs(ours - official) <= TOLERANCE:
        raise UserError(
            f"{name} is {ours!r} by our count and {official!r} by the official evaluator: one of them is wrong, so "
            "none is reported; check that the masks did not change meanwhile, and report it as a bug of segdla"
        )
