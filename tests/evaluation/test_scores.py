import json
import math
from dataclasses import FrozenInstanceError

import pytest

from segdla.evaluation.scores import Scores
from segdla.machine.files import to_json

BARE = Scores(0.5, 0.75, 0.6, {"a": 0.5, "b": 0.5}, {"a": 0.7, "b": 0.5})
FULL = Scores(
    0.5,
    0.75,
    0.6,
    {"a": 0.5, "b": 0.5},
    {"a": 0.7, "b": 0.5},
    mean_category_iou=0.8,
    category_iou={"thing": 0.8},
    official={"mean_iou": 0.5, "iou": {"a": 0.5, "b": 0.5}},
    split="val",
    protocol="own",
    other={"mean_iou": 0.1, "calibration": {"error": 0.2}},  # whatever it is called, it hides no score
)


@pytest.mark.parametrize("scores", [BARE, FULL], ids=["bare", "full"])
def test_scores_come_back_from_a_dict_and_from_json(scores):
    assert Scores.from_dict(scores.as_dict()) == scores
    assert Scores.from_dict(json.loads(json.dumps(to_json(scores.as_dict())))) == scores


def test_a_dict_holds_what_there_is():
    assert set(BARE.as_dict()) == {"mean_iou", "pixel_accuracy", "mean_accuracy", "iou", "accuracy"}
    assert FULL.as_dict()["mean_iou"] == 0.5 and FULL.as_dict()["other"]["mean_iou"] == 0.1
    empty = Scores(0.5, 0.5, 0.5, {}, {}, category_iou={}, mean_category_iou=0.0)
    assert Scores.from_dict(empty.as_dict()) == empty


def test_null_is_an_absent_class():
    values = {**FULL.as_dict(), "mean_iou": None, "iou": {"a": None}, "category_iou": {"thing": None}}
    scores = Scores.from_dict({**values, "official": {"iou": {"a": None}}, "other": {"depth": None}})
    absent = [scores.mean_iou, scores.iou["a"], scores.category_iou["thing"]]
    assert all(map(math.isnan, [*absent, scores.official["iou"]["a"], scores.other["depth"]]))


def test_entries_of_later_versions_are_ignored():
    assert Scores.from_dict({**FULL.as_dict(), "boundary_iou": 0.3, "settings": {}}) == FULL


def test_scores_do_not_change():
    with pytest.raises(FrozenInstanceError):
        BARE.mean_iou = 1.0


@pytest.mark.parametrize(
    "damage",
    [{"mean_iou": "high"}, {"iou": 3}, {"iou": None}, {"accuracy": {"a": []}}, {"official": 3}, {"other": 3}],
    ids=str,
)
def test_what_are_no_scores(damage):
    with pytest.raises((TypeError, ValueError)):
        Scores.from_dict({**FULL.as_dict(), **damage})
    with pytest.raises(KeyError):
        Scores.from_dict({"mean_iou": 0.5})
