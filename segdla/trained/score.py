"""Score a trained network on a split of a data set, or write its predictions: whole images, at their own size."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segdla.config import Config
from segdla.data.from_config import num_workers, open_split, whole_images
from segdla.data.loader import Batch
from segdla.data.source import Source
from segdla.data.subset import Subset
from segdla.errors import UserError
from segdla.evaluation.cityscapes_official import OfficialScore
from segdla.evaluation.cityscapes_submission import Submission
from segdla.evaluation.confusion import ConfusionMatrix
from segdla.evaluation.count import count_batches
from segdla.evaluation.evaluator import Evaluator, Prediction
from segdla.evaluation.scores import Scores
from segdla.evaluation.set_counts import counts_of
from segdla.machine import distributed
from segdla.machine.out_of_memory import answering_out_of_memory
from segdla.machine.terminal import progress
from segdla.machine.threads import Background
from segdla.models.dlaseg import DLASeg
from segdla.trained.chosen_evaluators import chosen_evaluators
from segdla.trained.masks import Masks
from segdla.trained.open import TrainedNetwork, WindowSetting, open_trained
from segdla.trained.record import write_record

TakeMask = Callable[[str, np.ndarray], None]  # takes an image's name and class ids (H,W) uint8


@dataclass(frozen=True)
class Evaluation:
    """A trained network and the images to score it on; with ``flip``, mirrored ones too."""

    trained: TrainedNetwork
    source: Source
    split: str
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    @property
    def config(self) -> Config:
        """The config of the run, with overrides."""
        return self.trained.config

    @property
    def saw_the_split(self) -> bool:
        """True if the network was trained on these images too, so that a score says nothing."""
        return self.split == "val" and self.trained.card.trained_on_val

    @property
    def by_windows(self) -> bool:
        """True if all images are seen by overlapping windows."""
        return not isinstance(self.config.eval.window, str)

    @property
    def options(self) -> tuple[str, ...]:
        """The options that are in force, for names of files."""
        in_force = {"multiscale": self.scales != (1.0,), "flip": self.flip, "window": self.by_windows}
        return tuple(option for option, is_on in in_force.items() if is_on)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that scores depend on, and whether they say nothing, for JSON."""
        return {**self._maker, "trained_on": self.saw_the_split}

    @property
    def _maker(self) -> dict[str, Any]:
        """Everything that predictions depend on."""
        return {
            "checkpoint": str(self.trained.path),
            "step": self.trained.card.step,
            "dataset": self.config.data.dataset,
            "protocol": self.source.classes.protocol,
            "split": self.split,
            "images": len(self.source),
            "scales": list(self.scales),
            "flip": self.flip,
            "window": self.config.eval.window,
            "overlap": self.config.eval.overlap,
            "merge": self.config.eval.merge,
            "precision": self.trained.machine.precision,
            "device": str(self.trained.device),
        }

    def write_record(self, scores: Scores) -> Path:
        """Write the record of scores beside the checkpoint, or here if that is not the user's own; return its path."""
        name = "_".join(["eval", self.split, *self.options])
        return write_record(self.trained.origin.folder_of_results, name, scores, self.settings)

    def score(self, outputs: Sequence[TakeMask] = (), evaluators: Sequence[Evaluator] = ()) -> Scores:
        """Return the scores, with the official evaluator's beside ours if the data set has one.

        ``outputs`` get each image's class ids meanwhile. Raises UserError if the two differ, or nothing is labelled.
        """
        if not self.source.labelled:
            secret = "is the server's secret: write what the server scores with --submission out.zip"
            answer = secret if self.source.has_server else "is not there: write its masks"
            raise UserError(f"the truth of the {self.split} split {answer}, or score --split val")
        truths, classes = self.source.official_truths(), self.source.classes
        with OfficialScore(truths) if truths else nullcontext() as official:
            also = [official.write] if official else []
            evaluators = [*chosen_evaluators(self.config.eval, self.source, self.trained.device), *evaluators]
            confusion, names = self._count(self.source, [*outputs, *also], evaluators)
            scores = confusion.scores(classes.names, classes.categories, split=self.split, protocol=classes.protocol)
            if official:
                scores = replace(scores, official=official.confirm(scores))
        if math.isnan(scores.mean_iou):
            reason = f"the {self.split} split has no labelled pixel of a class"
            raise UserError(f"{reason}: nothing can be scored; check its masks")
        group_of = {self.source.name(index): self.source.group(index) for index in range(len(self.source))}
        scores = scores.with_images(confusion.image_counts(names, group_of))
        return replace(scores, other={evaluator.name: evaluator.result() for evaluator in evaluators})

    def predict(self, outputs: Sequence[TakeMask] = (), evaluators: Sequence[Evaluator] = ()) -> None:
        """Hand each image's class ids to outputs, and predictions to evaluators, without scoring them."""
        self._count(self.source, outputs, evaluators)

    def submit(self, path: Path, masks: Masks | None = None) -> int:
        """Write the zip that the Cityscapes server takes; return how many predictions were in it from before.

        ``masks`` are written too, those of earlier predictions as well. Raises UserError if the zip can't be written,
        or there is no server for the data set.
        """
        if not self.source.has_server:
            dataset = self.config.data.dataset
            raise UserError(f"--submission is for Cityscapes, not for {dataset}; take --save-masks")
        submission = distributed.on_main(lambda: Submission(path, self.source, self.trained.path, self._maker))
        done = distributed.on_main(lambda: _earlier(submission, masks))
        missing = [index for index in range(len(self.source)) if self.source.name(index) not in done]
        if missing:
            also = [masks.write] if masks else []
            self._count(Subset(self.source, missing), [submission.write, *also])
        distributed.on_main(submission.finish)
        return len(done)

    def _count(
        self, source: Source, outputs: Sequence[TakeMask], evaluators: Sequence[Evaluator] = ()
    ) -> tuple[ConfusionMatrix, list[str]]:
        device, settings = self.trained.device, self.config.eval
        predictor = self.trained.predictor(self.scales, self.flip)
        confusion = counts_of(source.classes, device)
        needs_probabilities = any(evaluator.needs_probabilities for evaluator in evaluators)
        remedy = (
            f"see the images by --window 512 512, or set eval.low_memory=true (now {settings.low_memory}) or a lower "
            f"eval.batch_size (now {settings.batch_size})"
        )

        def predict(images: Tensor) -> Prediction:
            if needs_probabilities:
                return Prediction(*predictor.both(images))
            return Prediction(predictor.class_ids(images))

        with answering_out_of_memory(device, remedy, num_workers(self.config)), Background() as background:

            def keep(batch: Batch, class_ids: Tensor) -> None:
                for name, ids in zip(batch.names, class_ids.numpy(), strict=True):
                    for output in outputs:
                        background.do(output, name, ids)

            batches = progress(whole_images(self.config, source, device), "evaluating")
            names = count_batches(predict, batches, [confusion, *evaluators], device, keep if outputs else None)
        return confusion, names


def _earlier(submission: Submission, masks: Masks | None) -> set[str]:
    """Return the names of the predictions that a submission holds already, and write their masks."""
    names = submission.done()
    if masks is not None:
        for name in names:
            masks.write(name, submission.prediction(name))
    return names


def open_evaluation(
    checkpoint: str | os.PathLike[str] | None = None,
    split: str = "val",
    *,
    multiscale: bool = False,
    flip: bool = False,
    window: WindowSetting | None = None,
    device: str | torch.device = "auto",
    runs: str | os.PathLike[str] = "runs",
    overrides: Mapping[str, Any] | None = None,
    source: Source | None = None,
    model: DLASeg | None = None,
) -> Evaluation:
    """Open a trained network and the images to score it on; ``evaluate`` explains the arguments.

    Raises UserError if one of them does not fit, or the images have other classes than the network.
    """
    if window is not None:
        overrides = {**(overrides or {}), "eval.window": window}
    trained = open_trained(checkpoint, device, Path(runs), overrides, as_trained=True, model=model)
    source = open_split(trained.config, split) if source is None else source
    if source.classes.names != trained.classes.names or source.classes.overlapping != trained.classes.overlapping:
        raise UserError(
            f"{trained.path} was trained for the classes {', '.join(trained.classes.names)}, but the data "
            f"set has {', '.join(source.classes.names)}; test it on data of its own classes"
        )
    scales = trained.config.eval.scales if multiscale else (1.0,)
    return Evaluation(trained, source, split, scales, flip)


def evaluate(
    checkpoint: str | os.PathLike[str] | None = None,
    split: str = "val",
    *,
    multiscale: bool = False,
    flip: bool = False,
    window: WindowSetting | None = None,
    device: str | torch.device = "auto",
    runs: str | os.PathLike[str] = "runs",
    overrides: Mapping[str, Any] | None = None,
    masks: str | os.PathLike[str] | None = None,
    source: Source | None = None,
    model: DLASeg | None = None,
    evaluators: Sequence[Evaluator] = (),
) -> Scores:
    """Score a trained network on whole images, at their own size.

    checkpoint: a run, a checkpoint, an exported file or ``hf://OWNER/NAME``. None is the newest run in ``runs``.
    split: ``train``, ``val`` or ``test`` of the run's data set. source: your own images, which take its place.
    multiscale: sum over the scales of ``eval.scales``. flip: sum over mirrored images too.
    window: (height, width) of overlapping windows, ``whole`` or ``auto``. None is the run's ``eval.window``.
    device: ``auto`` (CUDA, else MPS, else the CPU), or a torch device.
    overrides: changes to the run's config, ``{"section.key": value}``.
    masks: folder to write the predicted masks to.
    model: your own network, if the run was trained with one. It is copied, and the copy gets the weights.
    evaluators: further metrics; their results are in ``Scores.other``.

    Raises UserError, one line with the remedy, if something does not fit.
    """
    options: dict[str, Any] = {"multiscale": multiscale, "flip": flip, "window": window, "device": device, "runs": runs}
    evaluation = open_evaluation(checkpoint, split, overrides=overrides, source=source, model=model, **options)
    outputs = [Masks(Path(masks), evaluation.source).write] if masks else []
    return evaluation.score(outputs, evaluators)
