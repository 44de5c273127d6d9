import json
import lzma
import math
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import segdla
from segdla.checkpoints.checkpoint import BEST, Card, read_card, read_checkpoint, write_checkpoint
from segdla.data.scenes import Scenes
from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.evaluation.scores import Scores

FIXTURES = Path(__file__).parents[1] / "fixtures"
CLASSES = Classes(("é", "b"), ((0, 0, 0), (255, 128, 7)), "own", ("thing", "thing"))
SCORES = Scores(0.5, 0.75, 0.25, {"é": 0.5, "b": 0.0}, {"é": 1.0, "b": 0.0}, 0.5, {"thing": 0.5}, split="val")
CARD = Card({"data": {"dataset": "folder", "crop": [32, 48]}}, CLASSES, SCORES, 7, "0.2", True)

# As version 0.1 wrote it: no categories, no flag, null for no protocol.
OLD_SCORES = {"split": "val, trained on", "protocol": "", "mean_iou": 0.5, "pixel_accuracy": 0.75, "mean_accuracy": 0.5}
OLD_SCORES |= {"iou": {"a": 0.5, "b": None}, "accuracy": {"a": 0.5, "b": None}}
OLD = {"config": {"data": {}}, "classes": ["a", "b"], "palette": [[0, 0, 0], [9, 9, 9]], "protocol": None}
OLD |= {"version": "0.1.0", "scores": OLD_SCORES, "step": 3}


@pytest.mark.parametrize(
    "card",
    [
        CARD,
        Card({}, Classes((), ())),
        replace(CARD, scores=None),
        replace(CARD, scores=replace(SCORES, category_iou={})),
    ],
    ids=["full", "empty", "unscored", "no categories"],
)
def test_a_card_comes_back_from_json(card):
    assert Card.from_json(card.to_json()) == card
    json.loads(card.to_json(), parse_constant=pytest.fail)  # NaN is no JSON


def test_absent_classes_come_back_from_json():
    card = replace(CARD, scores=replace(SCORES, mean_iou=math.nan, iou={"é": math.nan, "b": 0.5}))
    again = Card.from_json(card.to_json())
    json.loads(card.to_json(), parse_constant=pytest.fail)
    assert math.isnan(again.scores.mean_iou) and math.isnan(again.scores.iou["é"]) and again.scores.iou["b"] == 0.5


def test_a_card_of_version_0_1_opens():
    card = Card.from_json(json.dumps(OLD))
    assert (card.step, card.version, card.classes) == (3, "0.1.0", Classes(("a", "b"), ((0, 0, 0), (9, 9, 9))))
    assert card.trained_on_val and card.scores.split == "val" and card.scores.mean_iou == 0.5
    assert math.isnan(card.scores.iou["b"])
    honest = Card.from_json(json.dumps({**OLD, "scores": {**OLD_SCORES, "split": "val"}}))
    assert not honest.trained_on_val and honest.scores.split == "val"
    exported = Card.from_json(json.dumps({**OLD, "stride": 4, "precision": "int8", "scores": {}}))
    assert exported.scores is None and not exported.trained_on_val


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        "[" * 100_000,
        *(
            json.dumps({**OLD, **damage})
            for damage in (
                {"config": None},
                {"config": []},
                {"classes": None},
                {"classes": "ab"},
                {"classes": [1, 2]},
                {"classes": ["a"]},
                {"palette": [[0, 0, 0], [9, 9]]},
                {"palette": [[0, 0, 0], [9, 9, 256]]},
                {"palette": [[0, 0, 0], [9, 9, 0.5]]},
                {"palette": [[0, 0, 0], 10**13]},
                {"protocol": 1},
                {"categories": 1},
                {"scores": 1},
                {"scores": {"mean_iou": 0.5}},
                {"scores": {**OLD_SCORES, "iou": 1}},
                {"scores": {**OLD_SCORES, "mean_iou": "high"}},
                {"scores": {**OLD_SCORES, "mean_iou": 10**400}},
                {"step": math.inf},
                {"step": "3"},
                {"version": 1},
                {"trained_on_val": "no"},
            )
        ),
    ],
    ids=lambda text: text[-40:],
)
def test_a_damaged_card_is_answered(text, tmp_path):
    with pytest.raises(ValueError):
        Card.from_json(text)
    save_file({"a": torch.zeros(1)}, tmp_path / BEST, {"format": "segdla checkpoint 1", "card": text})
    with pytest.raises(UserError, match=r"is a damaged checkpoint: its card can't be read .*; take another") as answer:
        read_checkpoint(tmp_path / BEST)
    assert len(str(answer.value)) < 400 and "\n" not in str(answer.value)


def test_weights_and_card_come_back(tmp_path):
    state = {"a": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last), "n": torch.tensor(3)}
    write_checkpoint(tmp_path / BEST, state, CARD)
    checkpoint = read_checkpoint(tmp_path / BEST)
    assert checkpoint.card == read_card(tmp_path / BEST) == CARD
    assert all(torch.equal(checkpoint.state_dict[name], tensor) for name, tensor in state.items())
    assert [path.name for path in tmp_path.iterdir()] == [BEST]


@pytest.mark.parametrize("read", [read_checkpoint, read_card])
def test_files_that_are_no_checkpoint(tmp_path, read):
    path = tmp_path / BEST
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a checkpoint"):
        read(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"model\.weights="):
        read(path)
    save_file({"a": torch.zeros(1)}, path, {"format": "segdla checkpoint 1"})
    with pytest.raises(UserError, match="its card can't be read"):
        read(path)
    write_checkpoint(path, {"a": torch.zeros(100)}, CARD)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="not a checkpoint"):
        read(path)


# The fixtures were written by version 0.1 (commit 2773718): a run on drawn scenes, whose weights were then rounded to
# multiples of 1/64 to 1/4 and whose moments were set to zero, so that it packs, and its score; and the checkpoint of a
# run with data.train_on_val, all of whose weights were set to zero.


@pytest.fixture
def old_run(tmp_path):
    with tarfile.open(FIXTURES / "run_0.1.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
        archive.extractall(tmp_path)
    return tmp_path / "run_0.1"


def test_a_run_of_version_0_1_is_opened_and_scored_as_it_was(old_run):
    segmenter = segdla.load(old_run, "cpu")
    assert segmenter.classes == Scenes.classes.names
    ids = segmenter.predict(Scenes("val", 1, (32, 48)).read(0)[0])
    # Its scores of the classes differ by .002 or more at every pixel, so that no processor decides otherwise.
    assert np.bincount(ids.ravel(), minlength=9).tolist() == [24, 0, 213, 407, 0, 134, 32, 608, 118]
    before = json.loads((old_run / "eval_val.json").read_text(encoding="utf-8"))
    scores = segdla.evaluate(old_run, device="cpu").as_dict()
    for key in ("mean_iou", "pixel_accuracy", "mean_accuracy", "iou", "accuracy"):
        assert scores[key] == pytest.approx(before[key], abs=1e-12)


def test_a_run_of_version_0_1_goes_on_as_it_would_have(old_run):
    run = segdla.resume(old_run, {"train.epochs": 2})
    assert run.finished
    lines = [json.loads(line) for line in (old_run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if "loss" in line}
    assert list(losses) == [1, 2, 3, 4]
    # Version 0.1 resumed it to these. Crops of 32x32 in parts of two leave two values to the deepest batch
    # normalisation, which magnifies rounding, and the optimizer then moves the weights by the sign of each gradient,
    # since the moments are zero. Over 22 runs with AVX-512 and with SSE, whose weights differ by half an ulp, the
    # standard deviation is .0007 at step 3 and .076 at step 4; the bounds are six of them and more. From random weights
    # a loss is about 2.5.
    assert losses[3] == pytest.approx(4.158400535583496, rel=0.01)
    assert losses[4] == pytest.approx(4.570535182952881, rel=0.1)
    state = torch.load(old_run / "last.pt", weights_only=True)
    assert (state["step"], state["evaluated"]) == (4, 4)
    card = read_card(old_run / BEST)
    assert card.version == segdla.__version__ and card.step == 4 and not card.trained_on_val


def test_a_checkpoint_of_version_0_1_that_was_trained_on_val_says_so(tmp_path):
    path = tmp_path / BEST
    path.write_bytes(lzma.decompress((FIXTURES / "trained_on_val_0.1.safetensors.xz").read_bytes()))
    card = read_card(path)
    assert card.trained_on_val and card.scores.split == "val" and card.scores.mean_iou == pytest.approx(0.017663142)
    assert segdla.load(path, "cpu").predict(np.zeros((8, 9, 3), np.uint8)).shape == (8, 9)
