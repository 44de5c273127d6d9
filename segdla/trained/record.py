"""The record of an evaluation: scores as JSON and, beside it, each image's, as JSON lines and for a spreadsheet."""

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segdla.checkpoints.checkpoint import BEST, read_card
from segdla.errors import UserError, in_shell, quoted
from segdla.evaluation.image_counts import ImageCounts
from segdla.evaluation.scores import Scores
from segdla.machine.files import to_json, unused, write_json, write_whole

_KEYS = ("hits", "truth", "predicted")
_OF_NETWORK = ("checkpoint", "step", "dataset", "split", "images")  # settings that say whose scores these are
_NAMES = "surrogateescape"  # names of files need not be text: their bytes stay


@dataclass(frozen=True)
class Record:
    """Scores, with the counts of each image, and all that they depend on."""

    path: Path
    scores: Scores
    settings: Mapping[str, Any]


def write_record(folder: Path, name: str, scores: Scores, settings: Mapping[str, Any]) -> Path:
    """Write NAME.json with the scores, and NAME_images.jsonl and NAME_images.csv with those of each image.

    Earlier records stay: the name is counted up. Returns the path of the first file. Raises UserError if one can't be
    written.
    """
    path = unused(folder / f"{name}.json")
    write_json(path, {**scores.as_dict(), "settings": dict(settings)})
    if scores.images is not None:
        for suffix, text in ((".jsonl", _lines), (".csv", _table)):
            content = text(scores.images, list(scores.iou)).encode(errors=_NAMES)
            write_whole(_beside(path, suffix), content, durable=True)
    return path


def read_record(place: str | os.PathLike[str], split: str = "val") -> Record:
    """Read a record: a file that ``write_record`` wrote, or the newest of a split in a run's folder.

    Raises UserError if there is none, or it lacks the scores of each image.
    """
    path = Path(place)
    if path.is_dir():
        records = [record for record in path.glob(f"eval_{split}*.json") if _beside(record, ".jsonl").is_file()]
        if not records:
            if (path / BEST).is_file():
                read_card(path / BEST).classes.require_masks(path)
            raise UserError(
                f"no scores of the {split} images in {path}; run: segdla test {in_shell(path)} --split {split}"
            )
        path = max(records, key=lambda record: record.stat().st_mtime)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        scores = Scores.from_dict(values)
        images = _counts(_beside(path, ".jsonl").read_text(encoding="utf-8", errors=_NAMES), len(scores.iou))
        return Record(path, replace(scores, images=images), dict(values["settings"]))
    except OSError as error:
        raise UserError(f"cannot read {quoted(error.filename)}: {error.strerror}; segdla test writes it") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} or the file of its images is no record of segdla test; let it write a new one"
        ) from error


def records_of_other_ways(folder: Path, settings: Mapping[str, Any]) -> list[Record]:
    """Return the records in a folder of a network that was scored in other ways than ``settings`` say.

    They are of the same checkpoint, training step and images; the oldest comes first. Scores of images are left out.
    """
    own = to_json(dict(settings))
    every: list[Record] = []
    for path in sorted(folder.glob(f"eval_{own['split']}*.json"), key=lambda path: path.stat().st_mtime):
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):  # another program's
            values = json.loads(path.read_text(encoding="utf-8"))
            every.append(Record(path, Scores.from_dict(values), dict(values["settings"])))
    alike = [record for record in every if all(record.settings.get(key) == own[key] for key in _OF_NETWORK)]
    return [record for record in alike if record.settings != own]


def config_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config that a record's network was trained with, flat; empty if its checkpoint can't be read."""
    try:
        return flat(read_card(Path(str(settings.get("checkpoint")))).config)
    except UserError:  # it is gone, or an exported file
        return {}


def changed(first: Mapping[str, Any], second: Mapping[str, Any], aside: Set[str] = frozenset()) -> dict[str, str]:
    """Return "one -> other" for each key whose values differ, apart from the keys ``aside``; none if one is empty."""
    if not first or not second:
        return {}
    keys = dict.fromkeys((*first, *second))
    pairs = {key: (first.get(key), second.get(key)) for key in keys if key not in aside}
    return {key: f"{words(one)} -> {words(other)}" for key, (one, other) in pairs.items() if one != other}


def words(value: Any) -> str:
    """Return a setting as people say it: yes, no, none, or the values of a list."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, str | list | tuple) and not value):
        return "none"
    return ", ".join(map(words, value)) if isinstance(value, list | tuple) else str(value)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a nested config by dotted key."""
    values: dict[str, Any] = {}
    for key, value in config.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return values


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.stem}_images{suffix}")


def _lines(images: ImageCounts, names: list[str]) -> str:
    lines = []
    for place, name in enumerate(images.names):
        iou = {
            one: share for one, share in zip(names, images.iou[place].tolist(), strict=True) if not math.isnan(share)
        }
        counts = {key: getattr(images, key)[place].tolist() for key in _KEYS}
        line = {"name": name, "group": images.groups[place], "mean_iou": float(images.mean_iou[place]), "iou": iou}
        lines.append(json.dumps(to_json({**line, **counts}), ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines)


def _counts(lines: str, num_classes: int) -> ImageCounts:
    records = [json.loads(line) for line in lines.splitlines()]
    if not records:
        raise ValueError("no line")
    counts = np.array([[record[key] for key in _KEYS] for record in records], np.int64)
    hits, truth, predicted = counts.reshape(len(records), len(_KEYS), num_classes).transpose(1, 0, 2)
    names, groups = (tuple(str(record[key]) for record in records) for key in ("name", "group"))
    return ImageCounts(names, groups, hits, truth, predicted)


def _table(images: ImageCounts, names: list[str]) -> str:
    """Return a row an image: its name, and mean IoU and IoU by class in percent, empty for a class that is absent."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "mIoU %", *names])
    for name, mean, shares in zip(images.names, images.mean_iou, images.iou, strict=True):
        writer.writerow([name, *("" if math.isnan(share) else f"{100 * share:.2f}" for share in (mean, *shares))])
    return text.getvalue()
