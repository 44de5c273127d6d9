import io
import math
from dataclasses import replace

from rich.console import Console

from segdla.evaluation.scores import Scores
from segdla.evaluation.table import further_lines, percent, score_table

SCORES = Scores(0.5, 0.75, 0.6, {"a": 0.25, "b": math.nan}, {"a": 0.7, "b": math.nan})


def rows(scores):
    """The texts of a table, a list a row, the titles first."""
    columns = score_table(scores).columns
    return [
        [str(column.header) for column in columns],
        *map(list, zip(*(column.cells for column in columns), strict=True)),
    ]


def test_classes_stand_above_their_means():
    assert rows(SCORES) == [
        ["class", "IoU %", "acc. %"],
        ["a", "25.00", "70.00"],
        ["b", "-", "-"],
        ["mean (mIoU)", "50.00", "60.00"],
        ["all pixels", "", "75.00"],
    ]


def test_categories_and_official_scores_stand_beside_ours():
    official = {"iou": {"a": 0.26, "b": math.nan}, "mean_iou": 0.51, "category_iou": {"c": 0.31}}
    official |= {"mean_category_iou": 0.31, "instance_iou": {"a": 0.2, "b": math.nan}, "mean_instance_iou": 0.21}
    official |= {"instance_category_iou": {"c": 0.1}, "mean_instance_category_iou": 0.11}
    table = rows(replace(SCORES, category_iou={"c": 0.3}, mean_category_iou=0.3, official=official))
    assert table[0] == ["class", "IoU %", "acc. %", "official", "iIoU %"]
    assert table[1] == ["a", "25.00", "70.00", "26.00", "20.00"]
    assert table[3] == ["mean (mIoU)", "50.00", "60.00", "51.00", "21.00"]
    assert table[5:] == [["c", "30.00", "", "31.00", "10.00"], ["mean (categories)", "30.00", "", "31.00", "11.00"]]


def test_percent():
    assert (percent(0.12345), percent(1.0), percent(math.nan)) == ("12.35", "100.00", "-")


def test_everything_at_once_fits_into_80_columns():
    names = ("traffic light", "terrain")
    shares = dict.fromkeys(names, 1.0)
    official = {key: shares for key in ("iou", "instance_iou")} | {"mean_iou": 1.0, "mean_instance_iou": 1.0}
    official |= {key: {"void": 1.0} for key in ("category_iou", "instance_category_iou")}
    official |= {"mean_category_iou": 1.0, "mean_instance_category_iou": 1.0}
    interval = 0.998, 0.999
    scores = Scores(1.0, 1.0, 1.0, shares, shares, 1.0, {"void": 1.0}, official, mean_iou_interval=interval)
    scores = replace(
        scores, iou_interval=dict.fromkeys(names, interval), other={"boundary_iou": {"mean": 1.0, "iou": shares}}
    )
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(score_table(scores))
    text = console.export_text()
    assert all(title in text for title in ("IoU %", "95 %", "99.8-99.9", "bIoU %", "acc. %", "official", "iIoU %"))
    assert "mean (categories)" in text and "traffic light" in text
    assert further_lines(scores)[0].startswith("bIoU is boundary IoU, the IoU of bands along the outlines; acc. is")
