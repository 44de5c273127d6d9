"""From an evaluation to its report: the pass over the images, pictures of the worst, plots, and the file."""

import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from markupsafe import Markup

from segdla.data.from_config import every_split
from segdla.data.source import Source
from segdla.data.subset import Subset
from segdla.errors import UserError
from segdla.evaluation.comparison import Comparison, compare
from segdla.evaluation.image_counts import ImageCounts
from segdla.evaluation.scores import Scores
from segdla.machine import distributed
from segdla.machine.files import unused, write_whole
from segdla.models.dlaseg import DLASeg
from segdla.report import plots
from segdla.report.data_look import DataLook, look_at_data
from segdla.report.page import Facts, render
from segdla.report.pictures import Pictures
from segdla.report.selection import united, worst_confusions, worst_images, worst_images_of_classes
from segdla.report.survey import Survey
from segdla.trained.open import WindowSetting
from segdla.trained.record import Record, changed, config_of, flat, read_record, records_of_other_ways, words
from segdla.trained.score import Evaluation, open_evaluation
from segdla.training.log import read_records
from segdla.version import __version__

_ASIDE = {"checkpoint", "step"}  # settings that differ from network to network
_MOVED = 8  # images that changed most


def write_report(
    checkpoint: str | os.PathLike[str] | None = None,
    split: str = "val",
    *,
    before: str | os.PathLike[str] | None = None,
    worst: int = 24,
    path: str | os.PathLike[str] | None = None,
    multiscale: bool = False,
    flip: bool = False,
    window: WindowSetting | None = None,
    device: str | torch.device = "auto",
    runs: str | os.PathLike[str] = "runs",
    overrides: Mapping[str, Any] | None = None,
    source: Source | None = None,
    model: DLASeg | None = None,
    data: bool = False,
) -> Path:
    """Score a trained network, and write the scores and an HTML page that shows them; return the page's path.

    before: an earlier run, or a file that ``segdla test`` wrote, to compare with.
    worst: number of images to show of those with the lowest mean IoU; some of each class are shown besides.
    data: show the data set too, as ``segdla.check`` with a model sees it; every image is read.
    path: the page's file. None is report_SPLIT.html beside the checkpoint, numbered if it is taken.
    ``segdla.evaluate`` explains the other arguments.

    Raises UserError, one line with the remedy, if something does not fit.
    """
    options: dict[str, Any] = {"multiscale": multiscale, "flip": flip, "window": window, "device": device, "runs": runs}
    evaluation = open_evaluation(checkpoint, split, overrides=overrides, source=source, model=model, **options)
    earlier = None if before is None else read_record(before, split)
    splits = {split: source} if source is not None else every_split(evaluation.config) if data else {}
    return report_on(evaluation, earlier, worst, path, splits)


def report_on(
    evaluation: Evaluation,
    before: Record | None = None,
    worst: int = 24,
    path: str | os.PathLike[str] | None = None,
    splits: Mapping[str, Source | UserError] | None = None,
) -> Path:
    """Score an evaluation's network, and write its record and its page; return the page's path.

    splits: those of the data set that the page shows as the doctor sees them; none leaves the data set out.
    """
    if before is not None:
        require_comparable(before, evaluation)
    survey = Survey.of(evaluation)
    scores = evaluation.score([], survey.evaluators)
    if distributed.is_main():
        evaluation.write_record(survey.without_pictures(scores))
    look = distributed.on_main(lambda: look_at_data(evaluation, splits)) if splits else None
    return write_page(evaluation, scores, survey, before, worst, path, look)


def require_comparable(before: Record, evaluation: Evaluation) -> None:
    """Raise UserError, before time is spent, if a record is of other classes or images."""
    source, images = evaluation.source, before.scores.images
    names = {source.name(place) for place in range(len(source))}
    if tuple(before.scores.iou) != source.classes.names or images is None or set(images.names) != names:
        raise UserError(
            f"{before.path} is of other images or classes than the {evaluation.split} split of now; let segdla test "
            "score both networks on the same images"
        )


def write_page(
    evaluation: Evaluation,
    scores: Scores,
    survey: Survey,
    before: Record | None = None,
    worst: int = 24,
    path: str | os.PathLike[str] | None = None,
    look: DataLook | None = None,
) -> Path:
    """Write the page of scores that were counted with a survey; return its path.

    All processes predict the images that are shown once more; the main one writes. Raises UserError if it can't.
    """
    comparison = compare(before.scores, scores) if before is not None else None
    counts, matrix = scores.images, survey.confused.confusion.matrix.cpu().numpy()
    assert counts is not None, "scores of an evaluation have the counts of single images"
    gallery = gallery_of(counts, list(scores.iou), worst)
    confused = [survey.confused.images(one.truth, one.predicted)[:2] for one in worst_confusions(matrix)]
    moved = [name for name, _ in comparison.moved[:_MOVED]] if comparison else []
    doubtful = [one.name for one in look.doubtful] if look else []
    names = united(*gallery.values(), [name for name, _ in chain.from_iterable(confused)], moved, doubtful)
    layers = pictured(evaluation, set(names))
    if path is None:
        name = "_".join(["report", evaluation.split, *evaluation.options])
        path = unused(evaluation.trained.origin.folder_of_results / f"{name}.html")
    path = Path(path)
    if distributed.is_main():
        facts = Facts(
            title=one_name(evaluation.trained.path),
            classes=evaluation.source.classes,
            scores=scores,
            matrix=matrix,
            behind=behind(survey, len(matrix)),
            gallery=gallery,
            layers=layers,
            plots=plots_of(evaluation, scores),
            settings=evaluation.settings,
            environment=environment(evaluation),
            config=yaml.safe_dump(evaluation.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
            records=other_records(evaluation),
            look=look,
            **against(evaluation, before, comparison),
        )
        write_whole(path, render(facts).encode())
    return path


def gallery_of(counts: ImageCounts, classes: list[str], worst: int) -> dict[str, list[str]]:
    """Return the names of the worst images by heading: of all, then of each class."""
    of_classes = zip(classes, worst_images_of_classes(counts), strict=True)
    gallery = {"images of lowest mIoU": worst_images(counts, worst)}
    return gallery | {f"{name}: most of its pixels wrong": images for name, images in of_classes if images}


def pictured(evaluation: Evaluation, names: set[str]) -> dict[str, dict[str, str]]:
    """Return the layers of the images with these names, which are predicted again; by all processes together."""
    source = evaluation.source
    places = [place for place in range(len(source)) if source.name(place) in names]
    pictures = Pictures(source.classes.palette)
    replace(evaluation, source=Subset(source, places)).predict(evaluators=[pictures])
    return {name: pictures.layers[name] for name in map(source.name, places)}


def behind(survey: Survey, num_classes: int) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """Return the images behind each confusion, those with most of its pixels first."""
    cells = [(truth, predicted) for truth, predicted in product(range(num_classes), repeat=2) if truth != predicted]
    images = {cell: survey.confused.images(*cell) for cell in cells}
    return {cell: some for cell, some in images.items() if some}


def plots_of(evaluation: Evaluation, scores: Scores) -> dict[str, Markup]:
    """Return the plots by name; curves if the checkpoint lies in a run."""
    height, width = evaluation.source.read(0)[0].shape[:2]
    shown = {
        "places": plots.places(scores.other["error_map"], width / height),
        "reliability": plots.reliability(scores.other["calibration"]),
    }
    steps, _ = read_records(evaluation.trained.path.with_name("metrics.jsonl"))
    return shown | ({"curves": plots.curves(steps)} if steps else {})


def other_records(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a row for each record of this network on these images, scored in another way."""
    return [
        {
            "file": record.path.name,
            **{key: words(record.settings.get(key)) for key in ("scales", "flip", "window", "merge", "precision")},
            "mean_iou": record.scores.mean_iou,
            "interval": record.scores.mean_iou_interval,
        }
        for record in records_of_other_ways(evaluation.trained.origin.folder_of_results, evaluation.settings)
    ]


def against(evaluation: Evaluation, before: Record | None, comparison: Comparison | None) -> dict[str, Any]:
    """Return the facts of a page that an earlier record adds."""
    if before is None:
        return {}
    settings = changed(before.settings, evaluation.settings, _ASIDE)
    config = changed(config_of(before.settings), flat(evaluation.trained.card.config))
    return {"comparison": comparison, "compared_with": str(before.path), "changes": settings | config}


def environment(evaluation: Evaluation) -> dict[str, str]:
    """Return what computed the scores."""
    device = evaluation.trained.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    versions = {"segdla": __version__, "torch": torch.__version__, "numpy": np.__version__}
    network = evaluation.trained.card.version
    return {
        **versions,
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": f"{device} ({name}), {evaluation.trained.machine}",
        "network trained with": f"segdla {network}" if network else "unknown",
    }


def one_name(path: Path) -> str:
    """Return the name by which people know a network: its run's, or that of its file."""
    return path.parent.name if path.stem == "best" and path.parent.name else path.stem
