import csv
import os
from dataclasses import replace

import numpy as np
import pytest

from segdla.errors import UserError
from segdla.evaluation.image_counts import ImageCounts
from segdla.evaluation.scores import Scores
from segdla.trained.record import read_record, records_of_other_ways, words, write_record

IMAGES = ImageCounts(
    ("one", "zwei, drei\n名"),
    ("g", "g"),
    np.array([[3, 0], [1, 0]]),
    np.array([[4, 0], [1, 2]]),
    np.array([[5, 0], [3, 0]]),
)
SCORES = Scores(0.25, 0.5, 0.5, {"a": 0.5, "b": 0.0}, {"a": 0.8, "b": 0.0}, split="val", images=IMAGES)


def test_a_record_comes_back(tmp_path):
    path = write_record(tmp_path, "eval_val", SCORES, {"scales": [1.0]})
    record = read_record(path)
    assert record.scores == SCORES and record.settings == {"scales": [1.0]}
    for key in ("names", "groups", "hits", "truth", "predicted"):
        np.testing.assert_array_equal(getattr(record.scores.images, key), getattr(IMAGES, key))


def test_names_that_are_no_text_come_back(tmp_path):
    names = ("caf\udce9", "caf\u00e9")  # the bytes of a file's name in Latin-1, and in UTF-8
    images = replace(IMAGES, names=names)
    path = write_record(tmp_path, "eval_val", replace(SCORES, images=images), {})
    assert read_record(path).scores.images.names == names
    assert b"caf\xe9," in (tmp_path / "eval_val_images.csv").read_bytes()


def test_a_network_s_records_of_other_ways_come_oldest_first(tmp_path):
    own = {"checkpoint": "a", "step": 3, "dataset": "d", "split": "val", "images": 2, "scales": (1.0,)}
    changes = [{"scales": (2.0,)}, {"checkpoint": "b"}, {"step": 2}, {}, {"images": 1}, {"flip": True}]
    for place, values in enumerate(changes):
        os.utime(write_record(tmp_path, "eval_val", SCORES, own | values), (place, place))
    write_record(tmp_path, "eval_test", SCORES, own | {"split": "test", "flip": True})
    (tmp_path / "eval_val_other.json").write_text("[1]", encoding="utf-8")
    found = [record.settings for record in records_of_other_ways(tmp_path, own)]
    assert [(one["scales"], one.get("flip")) for one in found] == [([2.0], None), ([1.0], True)]


@pytest.mark.parametrize(
    ("value", "said"),
    [(True, "yes"), (False, "no"), (None, "none"), ("", "none"), ([], "none"), (0, "0"), ((0.5, 1), "0.5, 1")],
)
def test_settings_are_said_in_words(value, said):
    assert words(value) == said


def test_a_spreadsheet_has_a_row_an_image(tmp_path):
    write_record(tmp_path, "eval_val", SCORES, {})
    with (tmp_path / "eval_val_images.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["image", "mIoU %", "a", "b"],
        ["one", "50.00", "50.00", ""],
        ["zwei, drei\n名", "16.67", "33.33", "0.00"],
    ]


def test_the_newest_of_a_split_is_a_runs(tmp_path):
    older, newer = (write_record(tmp_path, "eval_val", SCORES, {"number": number}) for number in (1, 2))
    write_record(tmp_path, "eval_test", SCORES, {})
    assert (older.name, newer.name) == ("eval_val.json", "eval_val-2.json")
    os.utime(older, (1, 1))
    assert read_record(tmp_path).settings == {"number": 2}
    assert read_record(tmp_path, "test").path.name == "eval_test.json"
    with pytest.raises(UserError, match=r"no scores of the train images in .*; run: segdla test .* --split train"):
        read_record(tmp_path, "train")


@pytest.mark.parametrize("lines", ["", "{}\n", "[1]\n", '{"name": 1, "group": 2, "hits": [1]}\n', "[" * 100_000])
def test_a_damaged_record_is_named(tmp_path, lines):
    path = write_record(tmp_path, "eval_val", SCORES, {})
    (tmp_path / "eval_val_images.jsonl").write_text(lines, encoding="utf-8")
    with pytest.raises(UserError, match="is no record of segdla test"):
        read_record(path)


def test_json_of_others_is_no_record(tmp_path):
    path = write_record(tmp_path, "eval_val", SCORES, {})
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match="is no record of segdla test"):
        read_record(path)


def test_a_record_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_record(tmp_path / "eval_val.json")
