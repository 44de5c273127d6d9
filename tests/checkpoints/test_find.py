import os
from dataclasses import replace
from pathlib import Path

import pytest

import segdla
from segdla.checkpoints.checkpoint import BEST, Card, write_checkpoint
from segdla.checkpoints.find import SHIPPED, Found, find_checkpoint
from segdla.data.scenes import Scenes
from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.evaluation.scores import Scores

PHOTOGRAPHS = Card({"data": {"dataset": "folder"}}, Classes(("a",), ((0, 0, 0),)))
DRAWINGS = Card({"data": {"dataset": "scenes"}}, Scenes.classes)


@pytest.fixture
def runs(tmp_path):
    """``runs(a=CARD, b=CARD)`` makes runs of these names, the newest first, and returns their folder."""

    def make(**cards):
        for age, (name, card) in enumerate(cards.items()):
            path = tmp_path / "runs" / name / BEST
            path.parent.mkdir(parents=True)
            write_checkpoint(path, {}, card)
            os.utime(path, (1000 - age, 1000 - age))
        return tmp_path / "runs"

    return make


def test_what_is_named_is_found(runs):
    folder = runs(a=DRAWINGS, b=PHOTOGRAPHS)
    for path in (folder / "a", str(folder / "a"), folder / "a" / BEST):
        assert find_checkpoint(path, for_photographs=True) == Found(folder / "a" / BEST)
    assert str(find_checkpoint(folder / "a")) == str(folder / "a" / BEST)


def test_places_without_a_checkpoint(tmp_path):
    with pytest.raises(UserError, match="no folder of runs"):
        find_checkpoint(None, tmp_path / "runs")
    with pytest.raises(UserError, match="no run or checkpoint"):
        find_checkpoint(str(tmp_path / "none"))
    with pytest.raises(UserError, match=f"has no {BEST}"):
        find_checkpoint(str(tmp_path))


@pytest.mark.parametrize("for_photographs", [False, True])
def test_the_newest_run_is_the_default(runs, for_photographs):
    folder = runs(b=PHOTOGRAPHS, c=DRAWINGS, a=PHOTOGRAPHS)
    assert find_checkpoint(None, folder, for_photographs=for_photographs) == Found(
        folder / "b" / BEST, "the newest run"
    )


def test_the_default_is_named_with_its_score(runs):
    scored = replace(PHOTOGRAPHS, scores=Scores(0.1234, 0.5, 0.5, {"a": 0.1234}, {"a": 0.5}, split="val"))
    assert find_checkpoint(None, runs(a=scored)).reason == "the newest run, mIoU 12.3 % on val"


def test_a_run_of_drawn_scenes_is_the_default_where_photographs_are_not_meant(runs):
    folder = runs(c=DRAWINGS, a=PHOTOGRAPHS)
    assert find_checkpoint(None, folder) == Found(folder / "c" / BEST, "the newest run")


def test_runs_of_drawn_scenes_are_passed_over_for_photographs(runs):
    folder = runs(c=DRAWINGS, a=PHOTOGRAPHS)
    assert find_checkpoint(None, folder, for_photographs=True) == Found(
        folder / "a" / BEST, f"the newest run but for {folder / 'c'}, which knows drawn scenes alone"
    )
    newest = folder / "d" / BEST
    newest.parent.mkdir()
    write_checkpoint(newest, {}, DRAWINGS)
    default = find_checkpoint(None, folder, for_photographs=True)
    assert default.path == folder / "a" / BEST
    assert f"but for {folder / 'd'}, {folder / 'c'}, which know drawn scenes alone" in str(default)


def test_before_any_run_the_network_that_comes_along_is_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where there is no folder runs
    for for_photographs in (False, True):
        default = find_checkpoint(None, for_photographs=for_photographs)
        assert default.path == SHIPPED
        assert (
            str(default) == f"{SHIPPED} (the small street-scene network that comes along, because there is no run yet)"
        )
    (tmp_path / "empty" / "unfinished").mkdir(parents=True)
    assert find_checkpoint(None, tmp_path / "empty").path == SHIPPED


def test_after_runs_of_drawn_scenes_alone_it_is_still_the_default_for_photographs(runs):
    folder = runs(a=DRAWINGS)
    default = find_checkpoint(None, folder, for_photographs=True)
    assert default.path == SHIPPED
    assert f"because {folder / 'a'} knows drawn scenes alone; to use it, name it" in default.reason
    assert find_checkpoint(None, folder).path == folder / "a" / BEST


def test_data_that_was_handed_in_counts_and_not_the_config_beside_it(runs):
    folder = runs(own=replace(DRAWINGS, classes=PHOTOGRAPHS.classes))
    assert find_checkpoint(None, folder, for_photographs=True).path == folder / "own" / BEST


def test_a_newest_run_that_cannot_be_read_is_answered_by_name(runs):
    folder = runs(broken=PHOTOGRAPHS, a=PHOTOGRAPHS)
    content = (folder / "broken" / BEST).read_bytes()
    (folder / "broken" / BEST).write_bytes(content[:20])
    with pytest.raises(UserError, match=rf"broken.{BEST} is not a checkpoint of segdla"):
        find_checkpoint(None, folder, for_photographs=True)
    with pytest.raises(UserError, match=rf"broken.{BEST} is not a checkpoint of segdla"):
        segdla.load(runs=folder)
    with pytest.raises(UserError, match=rf"broken.{BEST} is not a checkpoint of segdla"):
        segdla.evaluate(runs=folder, device="cpu")


def test_results_go_beside_what_is_ones_own(tmp_path, monkeypatch):
    assert Found(tmp_path / "a" / BEST).folder_of_results == tmp_path / "a"
    assert Found(tmp_path / "cached" / BEST, in_cache=True).folder_of_results == Path()
    monkeypatch.chdir(SHIPPED.parents[1])
    for path in (SHIPPED, Path("shipped") / SHIPPED.name):
        assert Found(path).folder_of_results == Path()
