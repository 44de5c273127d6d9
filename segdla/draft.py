"""A first config for two folders: what was found in them, as YAML that says why."""

import json
import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from segdla.data.naming import find_naming
from segdla.data.pairing import Naming, Pairing, pair_folders
from segdla.data.propose import (
    Contents,
    Labels,
    by_lists,
    divide,
    examine,
    find_splits,
    name_labels,
)
from segdla.errors import UserError

_SPLITS = ("train", "val", "test")
_LARGEST_CROP = 512
_STEPS = 3000  # about as many are drafted


def draft(
    folders: Sequence[tuple[Path, Path]], target: Path, fraction: float, seed: int, lists: Sequence[Path], progress
) -> tuple[dict[Path, str], list[str]]:
    """Files to write, the config ``target`` and the lists beside it, and what should be told of them.

    ``folders`` of images and of their masks: one pair for all, or one each to train on, to validate on and perhaps to
    test on. ``lists`` split one in the same way; without them it is split by sub-folders of the names train and val, or
    by drawing a ``fraction`` to validate on. Raises UserError where the folders are no data set.
    """
    namings = [find_naming(*pair) for pair in folders]
    found = [pair_folders(*pair, naming) for pair, naming in zip(folders, namings, strict=True)]
    pairing = Pairing(*(list(chain(*column)) for column in zip(*found, strict=True)))
    contents = examine(pairing.pairs, progress)
    labels, pairs = name_labels(contents), contents.pairs
    told = [f"{len(pairs)} pairs; {len(contents.values)} {'colours' if contents.colored else 'ids'} in the masks"]
    if labels.ignore:
        share = contents.values[255] / sum(contents.values.values())
        told.append(
            f"255, in {100 * share:.2g} % of the pixels, is taken for what is unlabelled; if it is a class, put it "
            "into classes and label_map, and set ignore: []"
        )
    problems = pairing.problems + contents.problems
    if problems:
        told.append(f"left out: {problems[0]}" + (f" (and {len(problems) - 1} more)" if problems[1:] else ""))
    left = [*pairing.unused, *pairing.others]
    if left:
        told.append(f"left out, as their names pair them with nothing: {len(left)}, such as {left[0]}")
    if len(pairs) < 2:
        raise UserError(f"one pair in {folders[0][0]} is too little: to train on, and another to validate on")
    root = Path(os.path.commonpath([path.resolve() for pair in folders for path in pair]))
    _listed(Path("/"), root)  # it goes into the config too
    readable = set(pairs)
    splits: dict[str, tuple[Path, Path, Naming]] = {}  # where each is all of two folders
    parts: dict[str, list[tuple[Path, Path]]]
    if lists:
        listed = ([pairing.pairs[i] for i in part] for part in by_lists(pairing.pairs, folders[0][0], lists))
        parts = dict(zip(_SPLITS, listed, strict=False))
    elif len(folders) > 1:
        splits = {split: (*pair, naming) for split, pair, naming in zip(_SPLITS, folders, namings, strict=False)}
        parts = {split: part.pairs for split, part in zip(splits, found, strict=True)}
    else:
        splits = {split: (*pair, *namings) for split, pair in find_splits(*folders[0]).items()}
        parts = {
            split: [pair for pair in pairs if pair[0].is_relative_to(inside)] for split, (inside, *_) in splits.items()
        }
        if not parts.get("test", True):  # without masks it is no split to score on
            del parts["test"]
        if "val" not in parts:
            splits = {}
            of_train = set(parts.get("train", pairs))
            drawn = [i for i, pair in enumerate(pairs) if pair in of_train]
            train, val = divide(drawn, contents.groups, fraction, seed)
            test = {"test": parts["test"]} if "test" in parts else {}
            parts = {"train": [pairs[i] for i in train], "val": [pairs[i] for i in val], **test}
            told.append(f"{len(train)} images to train on and {len(val)} to validate on, drawn with seed {seed}")
            if any(set(group) & set(train) and set(group) & set(val) for group in contents.groups):
                told.append("most images are of one sequence, which had to be cut: scores will flatter")
    parts = {split: [pair for pair in part if pair in readable] for split, part in parts.items()}
    for split, part in parts.items():
        if not part:
            why = f": {problems[0]}" if problems else ""
            raise UserError(f"no image of the {split} split has a mask and can be read{why}; mend it, or give --lists")
    outside = len(pairs) - sum(map(len, parts.values()))
    if outside:
        told.append(f"{outside} pairs are in none of {', '.join(parts)}, and left out")
    files: dict[Path, str] = {}
    said: dict[str, dict[str, str]] = {}
    for split, part in parts.items():
        if splits and not problems:
            said[split] = _folders(root, *splits[split])
            continue
        path = target.with_name(f"{target.stem}_{split}.txt")
        files[path] = "".join(f"{_listed(root, image)}\t{_listed(root, mask)}\n" for image, mask in part)
        said[split] = {"list": str(path.resolve())}
    return {target: _yaml(root, said, labels, contents, len(parts["train"])), **files}, told


def _folders(root: Path, images: Path, masks: Path, naming: Naming) -> dict[str, str]:
    split = {"images": _listed(root, images), "masks": _listed(root, masks)}
    return split | {key: affix for key, affix in naming._asdict().items() if affix}


def _listed(root: Path, path: Path) -> str:
    name = os.path.relpath(path.absolute(), root) if path.absolute().is_relative_to(root) else str(path.absolute())
    if "\t" in name or "\n" in name or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise UserError(f"{str(path)!r} has a tab, a line break or bytes that are no UTF-8 in its name; rename it")
    return name


def _yaml(root: Path, splits: dict, labels: Labels, contents: Contents, number: int) -> str:
    crop = [max(32, min(_LARGEST_CROP, side) // 32 * 32) for side in contents.size]
    batch = max(2, min(8 if crop[0] * crop[1] > 300**2 else 16, number // 2))
    epochs = max(10, round(_STEPS * batch / number))
    lines = [
        f"# Drafted from {root}: rename the classes, and see what the doctor says: python tools/check_data.py THIS",
        "data:",
        "  dataset: folder",
        f"  root: {_flow(str(root))}",
        f"  classes: {_flow(labels.classes)}  # in the order of their numbers; give them names",
    ]
    shares = [
        100 * pixels / sum(contents.values.values())
        for value, pixels in contents.values.items()
        if contents.colored or value not in (labels.ignore or ())
    ]
    lines.append(f"  # of the pixels they have, in %: {', '.join(f'{share:.2g}' for share in shares)}")
    if labels.colors:
        lines.append(f"  colors: {_flow(labels.colors)}  # of each class in the masks, RGB; move what is")
        lines.append("  # unlabelled, perhaps the background, from here and from classes to ignore_colors: [[r, g, b]]")
    if labels.label_map:
        lines.append(f"  label_map: {_flow_map(labels.label_map)}  # ids in the masks; several may be one class")
    if labels.ignore is not None:
        lines.append(f"  ignore: {_flow(labels.ignore)}  # ids that are neither trained on nor scored")
    for split, said in splits.items():
        lines.append(f"  {split}: {_flow_map(said)}")
    lines += [
        f"  crop: {crop}  # (height, width); the images are {contents.size[0]} x {contents.size[1]}",
        "  augment: {scale: [0.5, 2.0], rotate: 10}",
        "model:",
        "  backbone: dla34",
        "  output_stride: 4  # 2 is more exact, and slower",
        f"  mean: {contents.mean}  # of your images; with pretrained weights, take theirs",
        f"  std: {contents.std}",
        "train:",
        f"  epochs: {epochs}  # about {epochs * -(-number // batch)} steps",
        f"  batch_size: {batch}",
        f"  eval_every: {max(1, epochs // 20)}",
        "  warmup_steps: 100",
        "  precision: bf16  # fp32 where the device lacks it",
    ]
    return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    """A list or string as YAML has it on one line: JSON is."""
    return json.dumps(value, ensure_ascii=False)


def _flow_map(values: dict) -> str:
    return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in values.items()) + "}"
