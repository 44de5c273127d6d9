"""Scores of a trained network on a split, masks and what can't be scored."""

import numpy as np
import pytest
import torch
from support import NAMES, photo, write

import segdla
from segdla.data.images import read_mask
from segdla.data.source import Classes, Source
from segdla.errors import UserError
from segdla.evaluation.table import further_lines
from segdla.models.dlaseg import DLASeg
from segdla.trained.masks import Masks
from segdla.trained.score import open_evaluation

PALETTE = ((10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200), (250, 250, 250))


class Blobs(Source):
    """Three images of 40x52 with random targets, some of them ignored."""

    classes = Classes(NAMES, PALETTE)

    def __len__(self):
        return 3

    def name(self, index):
        return f"blobs {index}"

    def read(self, index):
        target = photo(40, 52, 10 + index)[..., 0] // 43
        return photo(40, 52, index), np.where(target == 5, 255, target).astype(np.uint8)


class Secret(Blobs):
    """Images without a public truth."""

    labelled = False


def iou_by_hand(predictions):
    """The IoU of each class over the labelled pixels of Blobs."""
    targets = [Blobs().read(index)[1] for index in range(3)]
    truth, predicted = (np.concatenate([ids.ravel() for ids in several]) for several in (targets, predictions))
    predicted, truth = predicted[truth != 255], truth[truth != 255]
    return [((truth == i) & (predicted == i)).sum() / ((truth == i) | (predicted == i)).sum() for i in range(5)]


@pytest.mark.parametrize(
    "options",
    [{}, {"flip": True}, {"multiscale": True}, {"window": (32, 32)}, {"window": (24, 32), "flip": True}],
    ids=str,
)
def test_scores_are_those_of_the_masks_it_writes(checkpoint, tmp_path, options):
    scores = segdla.evaluate(checkpoint, source=Blobs(), device="cpu", masks=tmp_path, **options)
    masks = [read_mask(tmp_path / "ids" / f"blobs {index}.png") for index in range(3)]
    np.testing.assert_allclose(list(scores.iou.values()), iou_by_hand(masks), rtol=1e-12)
    assert list(scores.iou) == list(NAMES) and scores.mean_iou == pytest.approx(np.mean(list(scores.iou.values())))
    segmenter = segdla.load(checkpoint, "cpu", **options)
    for index, mask in enumerate(masks):  # folded, near ties may change sides
        assert (segmenter.predict(Blobs().read(index)[0]) == mask).mean() > 0.99


def test_options_change_scores_and_are_written_down(checkpoint):
    plain = open_evaluation(checkpoint, source=Blobs(), device="cpu")
    other = open_evaluation(checkpoint, source=Blobs(), device="cpu", window=(24, 32), flip=True, multiscale=True)
    assert plain.score() != other.score()
    assert plain.settings["window"] == "auto" and not plain.by_windows
    assert other.settings["window"] == (24, 32) and other.by_windows
    assert other.settings["flip"] and other.settings["scales"] == [0.5, 0.75, 1.0, 1.25, 1.5]


def test_images_whose_truth_is_secret(checkpoint, tmp_path):
    with pytest.raises(UserError, match="truth of the val split is not there: write its masks"):
        segdla.evaluate(checkpoint, source=Secret(), device="cpu", masks=tmp_path)
    assert not list(tmp_path.iterdir())  # at once
    open_evaluation(checkpoint, source=Secret(), device="cpu").predict([Masks(tmp_path, Secret()).write])
    assert len(list((tmp_path / "color").iterdir())) == 3


def test_images_of_other_classes(checkpoint):
    with pytest.raises(UserError, match=r"trained for the classes sky, road.* has sky, building.*its own classes"):
        segdla.evaluate(checkpoint, device="cpu")  # drawn scenes, as its config says


def test_images_that_no_server_scores(checkpoint, tmp_path):
    with pytest.raises(UserError, match="--submission is for Cityscapes, not for scenes"):
        open_evaluation(checkpoint, source=Blobs(), device="cpu").submit(tmp_path / "out.zip")


def test_masks_of_images_with_one_name(tmp_path):
    class Alike(Blobs):
        def name(self, index):
            return "blobs"

    with pytest.raises(UserError, match="two images have one name, and so would their masks"):
        Masks(tmp_path, Alike())


def test_masks_in_place_of_the_data_set_s(tmp_path):
    class Files(Blobs):
        def files(self, index):
            return (tmp_path / "ids" / f"blobs {index}.png",)

    write(tmp_path / "ids" / "blobs 1.png", photo(8, 8))
    with pytest.raises(UserError, match="is the data set's and would be overwritten; choose another folder of masks"):
        Masks(tmp_path, Files())


def test_lack_of_memory_is_answered_with_what_to_set(checkpoint, monkeypatch):
    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(DLASeg, "logits", too_large)
    with pytest.raises(UserError) as answer:
        segdla.evaluate(checkpoint, source=Blobs(), device="cpu")
    assert "--window 512 512" in str(answer.value) and "eval.low_memory=true (now False)" in str(answer.value)


def test_metrics_are_measured_if_asked_for(checkpoint):
    asked = {"eval.boundary_f": True, "eval.object_sizes": True, "eval.boundary_iou": False}
    scores = segdla.evaluate(checkpoint, source=Blobs(), device="cpu", overrides=asked)
    assert set(scores.other) == {"boundary_f", "object_sizes"}
    assert 0 < scores.other["boundary_f"]["mean"] < 1 and list(scores.other["boundary_f"]["f"]) == list(NAMES)
    assert scores.other["object_sizes"]["small"]["iou"] == {}  # Blobs tells no objects apart
    legend, one, other = further_lines(scores)
    assert legend == "acc. is accuracy, which is recall"
    assert one.startswith("boundary F-score ") and "small - %, medium - %, large - %" in other
