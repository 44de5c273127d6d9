import csv
import json

import numpy as np
import pytest

from segdla.data.source import Classes
from segdla.doctor.label_errors import SuspectRegion
from segdla.doctor.label_ranking import CheckedImage, LabelErrors, shift_words
from segdla.doctor.misplaced_labels import Shift, Turn

CLASSES = Classes(("sky", "=car, \x1b"), ((0, 0, 0), (9, 9, 9)))


def region(score, given=0):
    return SuspectRegion((1, 2, 3, 4), given, 1 - given, 12, 0.75, 0.125, score, b"")


def image(name, score, **more):
    return CheckedImage("val", 0, name, (f"i/{name}.png", f"m/{name}.png"), (9, 9), score, 0.5, **more)


def test_images_and_regions_are_ranked_and_written(tmp_path):
    errors = LabelErrors(CLASSES)
    errors.add(image("good", 0.0), [])
    errors.add(image("bad \udcff", 5.0, shift=Shift(0, -88, 0.5, 0.9)), [region(4.0), region(3.0, given=1)])
    errors.add(image("fair", 3.5), [region(3.5)])
    errors.write(tmp_path)
    values = json.loads((tmp_path / "label_errors.json").read_text(encoding="utf-8"))
    assert [one["image"] for one in values["images"]] == ["bad \udcff", "fair", "good"]
    assert values["images"][0]["shift"] == {"down": 0, "right": -88, "before": 0.5, "after": 0.9}
    with (tmp_path / "label_errors.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["score"]) for row in rows] == [4.0, 3.5, 3.0]
    assert rows[2]["labelled_as"] == CLASSES.names[1] and rows[2]["looks_like"] == "sky"
    assert [rows[0][key] for key in ("left", "top", "width", "height", "rank")] == ["1", "2", "3", "4", "1"]
    assert rows[1]["mask_file"] == "m/fair.png" and [one["image"] for one in values["regions"]][1] == "fair"
    assert not (tmp_path / "label_errors.png").exists()


def test_a_hundred_thousand_regions_leave_the_best_ones():
    scores = np.random.default_rng(0).random((10_000, 10))
    errors = LabelErrors(CLASSES, most=50)
    for number, of_image in enumerate(scores):
        errors.add(image(str(number), 0.0), [region(score) for score in of_image])
    kept = [one.score for _, one in errors.regions]
    assert kept == sorted(scores.ravel().tolist(), reverse=True)[:50]
    where = [owner.name for owner, _ in errors.regions]
    assert where == [str(place) for place in np.argsort(-scores.ravel())[:50] // 10]


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (
            Shift(0, -88, 0.551, 0.87),
            "its labels lie 88 pixels to the left; undone, 87 % of them agree with the network",
        ),
        (Shift(3, 1, 0.5, 0.9), "its labels lie 1 pixel to the right and 3 pixels too low; undone, 90 % of them"),
    ],
    ids=str,
)
def test_a_shift_in_words(shift, words):
    assert shift_words(shift).startswith(words)


def test_findings_name_the_mask():
    errors = LabelErrors(CLASSES)
    errors.add(image("a", 1.0, turn=Turn("mirrored", 0.4, 0.8), exchanged=((0, 1),)), [])
    kinds = {finding.kind: finding.message for finding in errors.findings()}
    assert kinds["labels mirrored"].startswith("m/a.png: its labels are mirrored; undone, 80 % of them agree")
    assert kinds["classes exchanged"] == f"m/a.png: sky and {CLASSES.names[1]} seem to have changed places"
    assert not any(finding.serious for finding in errors.findings())
