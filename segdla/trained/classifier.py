"""A trained network that labels whole images: the most probable classes of an image, and its scores on a split."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from segdla.data.from_config import open_split, whole_images
from segdla.data.images import as_rgb
from segdla.data.whole_images.from_config import evaluation_crop
from segdla.errors import UserError
from segdla.evaluation.count import count_batches
from segdla.evaluation.evaluator import Prediction
from segdla.evaluation.top_scores import TopCounts, TopScores
from segdla.inference.best_first import MOST, best_first
from segdla.machine.files import unused, write_json
from segdla.machine.terminal import progress
from segdla.trained.open import TrainedNetwork, open_trained
from segdla.trained.segmenter import OneImage

if TYPE_CHECKING:
    from segdla.export.write import Export

_NO_TARGET = np.zeros((1, 1), np.int16)


@dataclass(frozen=True)
class Classifier:
    """A trained network that labels whole images."""

    trained: TrainedNetwork

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by id."""
        return self.trained.classes.names

    def classify(self, image: OneImage) -> dict[str, float]:
        """Return the five most probable classes of an image with their probabilities, the best first."""
        return {self.classes[int(place)]: float(share) for place, share in self.best(as_rgb(image))}

    def best(self, image: np.ndarray) -> np.ndarray:
        """Return id and probability (5,2), the best first, of an image (H,W,3) uint8; fewer if there are fewer."""
        crop = evaluation_crop(self.trained.config)
        assert crop is not None, "its config is of whole images"
        pixels = torch.from_numpy(crop(image, _NO_TARGET)[0]).permute(2, 0, 1)[None]  # (1,3,H,W)
        with torch.inference_mode():
            logits = self.trained.logits_of(pixels.to(self.trained.device))  # (1,C,1,1)
            shares = (logits.double() / self.trained.temperature).softmax(1).flatten().cpu()
        best = shares.topk(min(MOST, len(shares)))
        return torch.stack([best.indices.double(), best.values], 1).numpy()

    def evaluate(self, split: str = "val") -> TopScores:
        """Return top-1 and top-5 over a split of the run's images.

        Raises UserError if they have other classes than the network, or can't be read.
        """
        trained, source = self.trained, open_split(self.trained.config, split)
        if source.classes.names != self.classes:
            raise UserError(
                f"{trained.path} was trained for {len(self.classes)} classes, {self.classes[0]} to {self.classes[-1]}, "
                f"and the data set has {len(source.classes)}, {source.classes.names[0]} to {source.classes.names[-1]}; "
                "test it on images of its own classes"
            )
        class_ids, counts = best_first(trained.logits_of), TopCounts(trained.device)
        batches = progress(whole_images(trained.config, source, trained.device), "evaluating")
        count_batches(lambda images: Prediction(class_ids(images)), batches, [counts], trained.device)
        return counts.scores(self.classes, split=split)

    def export(
        self, path: str | os.PathLike[str], *, int8: bool = False, num_images: int | None = None, max_drop: float = 2.0
    ) -> "Export":
        """Write the network in the format of the suffix, as ``Segmenter.export``, for images of ``data.crop``.

        Raises UserError if the file exists, or is not kept.
        """
        from segdla.trained.export_trained import export_trained

        return export_trained(self.trained, path, int8, num_images, max_drop, None)

    def write_record(self, scores: TopScores) -> Path:
        """Write scores beside the checkpoint, or here if that is not the user's own; return the file's path."""
        trained = self.trained
        path = unused(trained.origin.folder_of_results / f"eval_{scores.split}.json")
        settings = {
            "checkpoint": str(trained.path),
            "step": trained.card.step,
            "root": trained.config.model_dump(mode="json")["data"]["root"],
            "split": scores.split,
            "precision": trained.machine.precision,
            "device": str(trained.device),
        }
        write_json(path, {**scores.as_dict(), "settings": settings})
        return path


def load_classifier(
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device = "auto",
    *,
    runs: str | os.PathLike[str] = "runs",
    overrides: Mapping[str, Any] | None = None,
    for_photographs: bool = False,
) -> Classifier:
    """Load a trained network that labels whole images; ``segdla.load`` loads those for masks, and has the arguments.

    ``load_classifier("runs/x").classify("cat.jpg")`` gives the five most probable classes. ``overrides`` are changes to
    the run's config. Raises UserError if it is missing, labels masks, or an option does not fit.
    """
    options: dict[str, Any] = {"for_photographs": for_photographs, "whole_images": True}
    trained = open_trained(checkpoint, device, Path(runs), overrides, **options)
    if not trained.classes.whole_images:
        raise UserError(f"{trained.path} labels pixels, not whole images; load it with segdla.load")
    trained.classes.require_some(trained.path)
    return Classifier(trained)
