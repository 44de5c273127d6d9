"""The YAML of a first config, with comments that say why."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from segdla.doctor.budget import Budget, Pace
from segdla.doctor.contents import Contents, Labels
from segdla.machine.terminal import rough_duration


def draft_yaml(
    root: Path,
    splits: Mapping[str, Mapping[str, str]],
    labels: Labels,
    contents: Contents,
    budget: Budget,
    pace: Pace,
) -> str:
    """Return the text of a config; ``splits`` are the settings of each split."""
    to_do = "" if labels.named else "rename the classes, and "
    lines = [
        "  dataset: folder",
        f"  root: {flow(str(root))}",
        *_label_lines(labels, contents),
        *(f"  {split}: {_flow_map(settings)}" for split, settings in splits.items()),
    ]
    return config_text(f"{root}: {to_do}", lines, contents, budget, pace)


def config_text(beginning: str, data: Sequence[str], contents: Contents, budget: Budget, pace: Pace) -> str:
    """Return the text of a config; ``beginning`` says what it is drafted from, ``data`` are that section's lines."""
    images, used = contents.images, contents.sample_range
    sample_lines = [f"  sample_range: {list(used)}  # of images of 16 bits, which use no more"] if used else []
    lines = [
        f"# Drafted from {beginning}see what the doctor says: segdla check THIS",
        *_budget_lines(budget, pace),
        "data:",
        *data,
        *sample_lines,
        f"  crop: {list(budget.crop)}  # (height, width); the images are {images.size[0]} x {images.size[1]}",
        "  augment: {scale: [0.5, 2.0], rotate: 10}",
        "model:",
        f"  backbone: {budget.backbone}",
        f"  output_stride: {budget.output_stride}  # 2 is more exact, and slower",
        f"  mean: {images.mean}  # of your images; with pretrained weights, take theirs",
        f"  std: {images.std}",
        "train:",
        f"  epochs: {budget.epochs}  # {budget.steps} steps",
        f"  batch_size: {budget.batch_size}",
        f"  eval_every: {budget.eval_every}",
        f"  warmup_steps: {budget.warmup_steps}",
        f"  precision: {pace.precision}",
    ]
    return "\n".join(lines) + "\n"


def _budget_lines(budget: Budget, pace: Pace) -> list[str]:
    """Return comments on the time that the run takes, and on what to change for a better network."""
    more = "backbone: dla34 (two to three times as slow), " if budget.backbone != "dla34" else ""
    return [
        f"# Trains for about {rough_duration(budget.seconds)} on {pace.machine}, if nothing else runs there: "
        f"{budget.steps} steps of {budget.step_seconds:.2g} s, as measured.",
        f"# With more time: more epochs, a larger crop, {more}output_stride: 2.",
        "# The time grows with epochs, and with the pixels of a crop.",
    ]


def _label_lines(labels: Labels, contents: Contents) -> list[str]:
    total = sum(contents.values.values())
    shares = [
        100 * pixels / total
        for value, pixels in contents.values.items()
        if contents.colored or value not in (labels.ignore or ())
    ]
    give_names = "" if labels.named else "; give them names"
    lines = [
        f"  classes: {flow(labels.classes)}  # in the order of their numbers{give_names}",
        f"  # of the pixels they have, in %: {', '.join(f'{share:.2g}' for share in shares)}",
    ]
    if labels.colors and not contents.colored:
        lines.append(f"  colors: {flow(labels.colors)}  # of each class, by the masks' palette")
        if labels.ignore_colors:
            lines.append(f"  ignore_colors: {flow(labels.ignore_colors)}")
    elif labels.colors:
        lines.append(f"  colors: {flow(labels.colors)}  # of each class in the masks, RGB; move what is")
        lines.append("  # unlabelled, perhaps the background, from here and from classes to ignore_colors: [[r, g, b]]")
    if labels.label_map:
        lines.append(f"  label_map: {_flow_map(labels.label_map)}  # ids in the masks; several may be one class")
    if labels.ignore is not None:
        lines.append(f"  ignore: {flow(labels.ignore)}  # ids that are neither trained on nor scored")
    return lines


def flow(value: object) -> str:
    """Return a value as YAML on one line, which JSON is."""
    return json.dumps(value, ensure_ascii=False)


def _flow_map(values: Mapping[str, str] | Mapping[int, str]) -> str:
    return "{" + ", ".join(f"{key}: {flow(value)}" for key, value in values.items()) + "}"
