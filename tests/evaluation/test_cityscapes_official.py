"""Our score and the official evaluator's, on constructed sets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from cityscapes_tree import write_tree, write_truth
from support import write

from segdla.data.cityscapes import CLASSES, LABEL_ID_OF, cityscapes
from segdla.errors import UserError
from segdla.evaluation.cityscapes_official import OfficialScore, official_scores
from segdla.evaluation.confusion import ConfusionMatrix

VOID = 255


def both(folder, pairs, change=lambda scores: scores):
    """(ours, official) scores of (prediction, target) pairs of train ids; ``change`` may spoil ours first."""
    confusion = ConfusionMatrix(len(CLASSES))
    truths = {}
    for index, (_, target) in enumerate(pairs):
        stem = folder / f"ulm_000000_{index:06}_gtFine"
        write_truth(stem, LABEL_ID_OF[target])
        truths[f"image {index}"] = stem.with_name(f"{stem.name}_labelIds.png")
    with OfficialScore(truths) as official:
        for name, (prediction, target) in zip(truths, pairs, strict=True):
            confusion.count(torch.from_numpy(prediction), torch.from_numpy(target))
            official.write(name, prediction)
        ours = change(confusion.scores(CLASSES.names, CLASSES.categories))
        return ours, official.confirm(ours)


def random_pair(seed, predicted=range(19), true=range(19), void=0.2, size=(30, 41)):
    random = np.random.default_rng(seed)
    prediction, target = (random.choice(list(ids), size).astype(np.uint8) for ids in (predicted, true))
    target[random.random(size) < void] = VOID
    return prediction, target


@pytest.mark.parametrize(
    "pairs",
    [
        [random_pair(0), random_pair(1), random_pair(2, size=(7, 90))],  # several images, sizes differ
        [random_pair(3, predicted=range(5), true=range(3, 9))],  # absent classes; some only predicted, some only true
        [random_pair(4), random_pair(5, void=1.0)],  # an image whose pixels are all ignored
        [random_pair(6, predicted=[*range(10), VOID])],  # predictions of an ignored id
        [random_pair(7, predicted=[13], true=[13], void=0.0)],  # nothing but one class, all right
    ],
    ids=["several", "absent", "all_ignored", "predicts_ignored", "one_class"],
)
def test_ours_is_the_official_score(tmp_path, pairs):
    ours, official = both(tmp_path, pairs)
    for key in ("iou", "category_iou"):
        by_name = ours.as_dict()[key]
        assert list(by_name) == list(official[key])
        np.testing.assert_allclose(list(by_name.values()), list(official[key].values()), rtol=0, atol=1e-12)


def test_with_a_numpy_that_still_has_in1d(tmp_path, monkeypatch):
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    ours, official = both(tmp_path, [random_pair(0)])
    assert ours.mean_iou == pytest.approx(official["mean_iou"], abs=1e-12)


def test_categories_by_hand(tmp_path):
    # Cars (13) taken for trucks (14) and back are right as vehicles; a car taken for road (0) is not.
    target, prediction = np.full((1, 4), 13, np.uint8), np.array([[14, 14, 13, 0]], np.uint8)
    ours, _ = both(tmp_path, [(prediction, target)])
    assert ours.category_iou["vehicle"] == 3 / 4
    assert ours.category_iou["flat"] == 0
    assert math.isnan(ours.category_iou["sky"])
    assert ours.mean_category_iou == pytest.approx(3 / 8)


def test_a_difference_is_an_error(tmp_path):
    def spoil(scores):
        return replace(scores, iou={**scores.iou, "car": scores.iou["car"] + 1e-8})

    with pytest.raises(UserError, match=r"iou of car is .* by our count and .* by the official evaluator"):
        both(tmp_path, [random_pair(0)], change=spoil)


def test_a_class_that_only_one_of_them_scores_is_an_error(tmp_path):
    def spoil(scores):
        return replace(scores, category_iou={**scores.category_iou, "sky": math.nan})

    with pytest.raises(UserError, match="category_iou of sky is nan by our count"):
        both(tmp_path, [random_pair(0)], change=spoil)


def test_instances_weigh_alike_whatever_their_size(tmp_path):
    # Two cars, of 7 pixels and of 2; the larger is found, the smaller is not. Each is weighed by the mean size of a car
    # over its own: iIoU = w/7 * 7 / (w/7 * 7 + w/2 * 2) = 1/2, where IoU = 7/9.
    target, prediction = np.zeros((2, 10), np.uint8), np.zeros((2, 10), np.uint8)
    target[0, :7] = target[1, 8:] = 13
    prediction[0, :7] = 13
    ours, official = both(tmp_path, [(prediction, target)])
    assert ours.iou["car"] == pytest.approx(7 / 9)
    assert official["instance_iou"]["car"] == pytest.approx(1 / 2)
    assert official["mean_instance_iou"] == pytest.approx(1 / 2)
    assert math.isnan(official["instance_iou"]["road"])


def test_no_instance_score_without_instance_ids(tmp_path):
    source = cityscapes(write_tree(tmp_path, val=2), "val")
    next(tmp_path.rglob("*_instanceIds.png")).unlink()
    truths = list(source.official_truths().values())
    scores = official_scores(truths, truths)
    assert "instance_iou" not in scores
    assert scores["mean_iou"] == 1


def test_a_refusal_is_handed_on(tmp_path):
    source = cityscapes(write_tree(tmp_path, val=1), "val")
    write(tmp_path / "small.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(UserError, match=r"evaluator refused: Image widths of .*small\.png"):
        official_scores([tmp_path / "small.png"], list(source.official_truths().values()))
