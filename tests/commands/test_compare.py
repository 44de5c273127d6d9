import numpy as np
import pytest

from segdla.evaluation.image_counts import ImageCounts
from segdla.evaluation.scores import Scores
from segdla.trained.record import write_record


@pytest.fixture
def record(tmp_path):
    """``record(run, hits, **settings)`` writes the scores of 20 images with a class each."""

    def write(run, hits, **settings):
        hits = np.asarray(hits, np.int64)[:, None]
        names, truth = tuple(f"image {index}" for index in range(len(hits))), np.full_like(hits, 100)
        images = ImageCounts(names, names, hits, truth, truth)
        iou = float(images.scores()[-1])
        return write_record(
            tmp_path / run, "eval_val", Scores(iou, iou, iou, {"a": iou}, {"a": iou}, images=images), settings
        )

    return write


def test_a_clear_difference_is_called_one(record, tool, capsys):
    hits = np.arange(50, 70)
    record("first", hits, scales=[1.0], step=3, flip=False)
    record("second", hits + 9, scales=[0.5, 1.0], step=4, flip=True)
    assert tool("compare")("first", "second", "--images", 1) == 0
    output = capsys.readouterr().out
    assert "scored otherwise: scales 1.0 -> 0.5, 1.0\n" in output and "step" not in output
    assert "scored otherwise: flip no -> yes\n" in output
    assert "a real difference; equally good networks differ as much in 0.0 % of cases" in output
    assert output.splitlines()[-1].endswith("image 19")  # the higher an image's IoU, the more nine pixels change it


def test_two_records_of_the_same_scores_differ_by_chance(record, tool, capsys):
    for _ in range(2):
        record("first", np.arange(50, 70))
    assert tool("compare")("first/eval_val.json", "first/eval_val-2.json") == 0
    assert "mIoU +0.00: it may be chance" in capsys.readouterr().out


def test_a_run_is_not_compared_with_itself(record, fails):
    path = record("first", [50, 60, 70])
    message = fails("compare", path, "first")
    assert "both are" in message and message.endswith(
        "eval_val.json, and scores do not differ from themselves; name two\n"
    )


def test_few_images_say_nothing(record, tool, capsys):
    record("first", [50, 60, 70])
    record("second", [50, 60, 70])
    assert tool("compare")("first", "second") == 0
    assert "too few" in capsys.readouterr().out


def test_a_run_that_is_not_scored_is_named(record, fails, tmp_path):
    record("first", [50])
    (tmp_path / "empty").mkdir()
    assert "no scores of the val images in empty; run: segdla test empty --split val" in fails(
        "compare", "first", "empty"
    )
