"""A first config for two folders: what was found in them, as YAML that says why."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from segdla.data.naming import find_naming
from segdla.data.pairing import Naming, pair_folders
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

_LARGEST_CROP = 512
_STEPS = 3000  # about as many are drafted


def draft(
    images: Path, masks: Path, target: Path, fraction: float, seed: int, lists: Sequence[Path], progress
) -> tuple[dict[Path, str], list[str]]:
    """Files to write, the config ``target`` and the lists beside it, and what should be told of them.

    lists: of the images to train on, to validate on and perhaps to test on; none: split by sub-folders of the names
    train and val, or by drawing a ``fraction`` to validate on. Raises UserError where the folders are no data set.
    """
    naming = find_naming(images, masks)
    pairing = pair_folders(images, masks, naming)
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
    if len(pairs) < 2:
        raise UserError(f"one pair in {images} is too little: one is needed to train on and another to validate on")
    root = Path(os.path.commonpath([images.resolve(), masks.resolve()]))
    _listed(Path("/"), root)  # it goes into the config too
    folders = {} if lists else find_splits(images, masks)
    if lists:
        readable = {pair: index for index, pair in enumerate(pairs)}
        listed = ([pairing.pairs[i] for i in part] for part in by_lists(pairing.pairs, images, lists))
        parts = {
            split: [readable[pair] for pair in part if pair in readable]
            for split, part in zip(("train", "val", "test"), listed, strict=False)
        }
    elif folders:
        insides = {split: images / name for split, name in folders.items()}
        parts = {
            split: [i for i, (image, _) in enumerate(pairs) if image.is_relative_to(inside)]
            for split, inside in insides.items()
        }
        if not parts.get("test", True):  # without masks it is no split to score on
            del parts["test"]
    else:
        parts = dict(zip(("train", "val"), divide(len(pairs), contents.groups, fraction, seed), strict=True))
        told.append(
            f"{len(parts['train'])} images to train on and {len(parts['val'])} to validate on, drawn with seed {seed}"
        )
        if any(0 < len(set(group) & set(parts["val"])) < len(group) for group in contents.groups):
            told.append("nearly all images are of one sequence, which had to be cut: scores will flatter")
    for split, part in parts.items():
        if not part:
            why = f": {problems[0]}" if problems else ""
            raise UserError(f"no image of the {split} split has a mask and can be read{why}; mend it, or give --lists")
    outside = len(pairs) - sum(map(len, parts.values()))
    if outside:
        told.append(f"{outside} pairs are in none of {', '.join(parts)}, and left out")
    files: dict[Path, str] = {}
    splits: dict[str, dict[str, str]] = {}
    for split, part in parts.items():
        if folders and not problems:
            splits[split] = _folders(root, images / folders[split], masks / folders[split], naming)
            continue
        path = target.with_name(f"{target.stem}_{split}.txt")
        listed = ((_listed(root, image), _listed(root, mask)) for image, mask in (pairs[i] for i in part))
        files[path] = "".join(f"{image}\t{mask}\n" for image, mask in listed)
        splits[split] = {"list": str(path.resolve())}
    return {target: _yaml(root, splits, labels, contents, len(parts["train"])), **files}, told


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
    batch = max(1, min(8 if crop[0] * crop[1] > 300**2 else 16, number // 2))
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
