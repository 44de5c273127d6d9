"""A trained network on a split of a data set: its class ids of whole images, counted and written."""

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from segdla import build
from segdla.background import Background
from segdla.build.memory import answering_memory
from segdla.data.cityscapes import Cityscapes
from segdla.data.dataset import Source
from segdla.data.loader import Batch
from segdla.errors import UserError
from segdla.evaluation import evaluate
from segdla.evaluation.official import OfficialScore
from segdla.inference.predictors import Predictor
from segdla.metrics import ConfusionMatrix
from segdla.report import progress
from segdla.trained import Trained
from segdla.visualize import write_image, write_palette

Output = Callable[[str, np.ndarray], None]  # takes an image's name and class ids (H,W) uint8


class Masks:
    """An image's ids/NAME.png and color/NAME.png in a folder.

    Raises UserError where they would overwrite each other, or the data set.
    """

    def __init__(self, folder: Path, source: Source):
        self.folder = folder
        self.palette = source.classes.palette
        names = {source.name(i) for i in range(len(source))}
        if len(names) < len(source):
            raise UserError("two images have one name, and so would their masks; leave out --save-masks")
        own = {os.path.realpath(file) for pair in getattr(source, "pairs", ()) for file in pair}
        for file in (file for name in names for file in self._files(name)):
            if os.path.realpath(file) in own:
                raise UserError(f"{file} is the data set's and would be overwritten; choose another --save-masks")

    def write(self, name: str, ids: np.ndarray) -> None:
        as_ids, as_colors = self._files(name)
        write_image(as_ids, ids)
        write_palette(as_colors, ids, self.palette)

    def _files(self, name: str) -> tuple[Path, Path]:
        return self.folder / "ids" / f"{name}.png", self.folder / "color" / f"{name}.png"


def count(trained: Trained, source: Source, predict: Predictor, outputs: Sequence[Output]) -> ConfusionMatrix:
    """The confusion matrix of ``predict`` on a source, each of whose images is given to ``outputs`` meanwhile."""
    settings = trained.config
    remedy = (
        f"see the images by --window 512 512, or set eval.low_memory=true (now {settings.eval.low_memory}) or a lower "
        f"eval.batch_size (now {settings.eval.batch_size})"
    )
    with answering_memory(settings, trained.device, remedy), Background() as background:

        def keep(batch: Batch, prediction: Tensor) -> None:
            for name, ids in zip(batch.names, prediction.numpy(), strict=True):
                for output in outputs:
                    background.do(output, name, ids)

        batches = progress(build.whole_images(settings, source, trained.device), "evaluating")
        return evaluate(predict, batches, len(source.classes), trained.device, keep if outputs else None)


def score(trained: Trained, source: Source, predict: Predictor, outputs: Sequence[Output]) -> dict[str, Any]:
    """The scores of ``predict`` on a source; of Cityscapes with the official evaluator's beside ours.

    Raises UserError where the two differ.
    """
    truths = source.label_files if isinstance(source, Cityscapes) else None
    by_name = dict(zip(map(source.name, range(len(source))), truths, strict=True)) if truths else {}
    with OfficialScore(by_name) if truths else nullcontext() as official:
        confusion = count(trained, source, predict, [*outputs, *([official.write] if official else [])])
        scores: dict[str, Any] = confusion.scores(source.classes.names, source.classes.categories)
        if official:
            scores["official"] = official.confirm(scores)
    return scores
