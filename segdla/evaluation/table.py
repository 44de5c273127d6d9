"""Scores as a table for the terminal."""

import math

from rich.table import Table

from segdla.evaluation.scores import Interval, Scores


def score_table(scores: Scores) -> Table:
    """Return IoU and accuracy (recall) by class, and their means; a dash for a class that is absent.

    Where they are known, the interval, boundary IoU (bIoU) and the official evaluator's scores stand beside the IoU,
    and IoU by category follows. All of them fit into 80 columns.
    """
    official = scores.official or {}
    theirs = {"official": "iou", "iIoU %": "instance_iou"}
    theirs = {title: key for title, key in theirs.items() if key in official}
    boundary = scores.other.get("boundary_iou", {})
    absent = {"95 %": scores.mean_iou_interval is None, "bIoU %": not boundary}
    columns = [title for title in ("IoU %", "95 %", "bIoU %", "acc. %", *theirs) if not absent.get(title)]
    table = Table()
    table.add_column("class")
    for title in columns:
        table.add_column(title, justify="right")

    def add(name: str, style: str = "", **cells: str) -> None:
        table.add_row(name, *(cells.get(title, "") for title in columns), style=style)

    intervals = scores.iou_interval or {}
    for name, iou in scores.iou.items():
        cells = {title: percent(official[key][name]) for title, key in theirs.items()}
        cells |= {"IoU %": percent(iou), "95 %": _interval(intervals.get(name))}
        cells |= {"acc. %": percent(scores.accuracy[name])}
        cells |= {"bIoU %": percent(boundary["iou"][name])} if boundary else {}
        add(name, **cells)
    table.add_section()
    cells = {title: percent(official[f"mean_{key}"]) for title, key in theirs.items()}
    cells |= {"IoU %": percent(scores.mean_iou), "95 %": _interval(scores.mean_iou_interval)}
    cells |= {"bIoU %": percent(boundary["mean"])} if boundary else {}
    add("mean (mIoU)", "bold", **cells, **{"acc. %": percent(scores.mean_accuracy)})
    add("all pixels", **{"acc. %": percent(scores.pixel_accuracy)})
    if scores.category_iou is not None and scores.mean_category_iou is not None:
        of_category = {title: key.replace("iou", "category_iou") for title, key in theirs.items()}
        table.add_section()
        for name, iou in scores.category_iou.items():
            cells = {title: percent(official[key][name]) for title, key in of_category.items()}
            add(name, **cells, **{"IoU %": percent(iou)})
        cells = {title: percent(official[f"mean_{key}"]) for title, key in of_category.items()}
        add("mean (categories)", "bold", **cells, **{"IoU %": percent(scores.mean_category_iou)})
    return table


def further_lines(scores: Scores) -> list[str]:
    """Return lines that explain the table, and those about metrics that have no place in it.

    These are the boundary F-score, IoU by object size, and a temperature.
    """
    lines = ["acc. is accuracy, which is recall"]
    if "boundary_iou" in scores.other:
        lines = ["bIoU is boundary IoU, the IoU of bands along the outlines; " + lines[0]]
    if "boundary_f" in scores.other:
        outlines = scores.other["boundary_f"]
        where = f"{100 * outlines['tolerance']:g} % of the diagonal"
        lines.append(f"boundary F-score {percent(outlines['mean'])} %, of outlines right within {where}")
    if "object_sizes" in scores.other:
        sizes = scores.other["object_sizes"].items()
        by_size = ", ".join(f"{size} {percent(values['mean'])} %" for size, values in sizes)
        lines.append(f"mIoU of objects by size: {by_size}")
    if "temperature" in scores.other:
        fit = scores.other["temperature"]
        fall = f"the mean negative log-likelihood falls from {fit['nll_before']:.4f} to {fit['nll']:.4f}"
        lines.append(f"temperature {fit['temperature']:.3f}, by which {fall}")
    if "threshold" in scores.other:
        fit = scores.other["threshold"]
        for name, threshold in fit["thresholds"].items():
            rise = (
                f"the IoU of {name} is {percent(fit['iou'][name])} %, for {percent(fit['iou_before'][name])} % at 0.5"
            )
            lines.append(f"threshold {threshold:.3f}, at which {rise}")
    return lines


def percent(share: float) -> str:
    """Return a share as percent with two digits; a dash for the NaN of an absent class."""
    return "-" if math.isnan(share) else f"{100 * share:.2f}"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.1f}-{100 * interval[1]:.1f}"
