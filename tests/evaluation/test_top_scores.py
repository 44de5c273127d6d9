import math

import torch
from distributed_work import count_top, top_of
from processes import run_together

from segdla.evaluation.evaluator import Prediction
from segdla.evaluation.top_scores import TopCounts, TopScores

NAMES = tuple("abcdefg")


def test_five_images_by_hand():
    counts = TopCounts()
    best = torch.tensor([[3, 1, 0, 2, 4], [1, 3, 0, 2, 4], [6, 5, 4, 3, 2], [0, 1, 2, 3, 4], [2, 1, 0, 5, 6]])
    targets = torch.tensor([3, 4, 0, -1, 1]).short()  # first, fifth, not among them, of no class, second
    counts.update(torch.empty(0), targets[:, None, None], Prediction(best[..., None, None]))
    scores = counts.scores(NAMES, split="val")
    assert counts.result() == [4, 1, 3]
    assert scores == TopScores(0.25, 0.75, 4, "val")
    assert scores.line == "top-1 25.00 %  top-5 75.00 %"
    assert TopScores.from_dict(scores.as_dict()) == scores


def test_five_classes_have_no_top_5():
    counts = TopCounts()
    counts.update(torch.empty(0), torch.zeros(1, 1, 1).short(), Prediction(torch.zeros(1, 2, 1, 1, dtype=torch.int64)))
    assert counts.scores(NAMES[:5]) == TopScores(1.0, None, 1)
    assert math.isnan(TopCounts().scores(NAMES).top1)


def test_two_processes_count_what_one_does(tmp_path):
    assert run_together(count_top, tmp_path) == [0, 0]
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert both[0] == both[1] == top_of(0, 1).result()
    assert both[0][0] == 7
