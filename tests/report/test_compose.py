import json

import pytest

import segdla
from segdla.checkpoints.checkpoint import BEST, Card, write_checkpoint
from segdla.config import parse
from segdla.data.scenes import Scenes
from segdla.models.from_config import build_network


@pytest.fixture
def run(tmp_path):
    """A run on three drawn scenes, that nobody trained."""
    data = {"dataset": "scenes", "size": [32, 32], "crop": [32, 32], "train": 2, "val": 3, "test": 1, "workers": 0}
    config = parse({"data": data}, {"model.backbone": "dla46_c", "model.output_stride": 8, "train.device": "cpu"})
    network = build_network(config.model, len(Scenes.classes))
    path = tmp_path / "run" / BEST
    write_checkpoint(path, network.state_dict(), Card(config.model_dump(mode="json"), Scenes.classes))
    return path.parent


def test_a_command_writes_record_and_page(run, tool, capsys):
    assert tool("write_report")(run, "eval.boundary_iou=false") == 0
    page = (run / "report_val.html").read_text(encoding="utf-8")
    scores = json.loads((run / "eval_val.json").read_text(encoding="utf-8"))
    assert capsys.readouterr().out.endswith(f"open {run / 'report_val.html'} in a browser\n")
    assert f'data-score="mean_iou" data-v="{scores["mean_iou"]!r}"' in page
    assert set(scores["other"]) == {"calibration"}  # what a page alone shows is not in the record
    assert "What changed" not in page and 'id="curves"' not in page and 'id="data-set"' not in page


def test_a_command_shows_the_data_set_if_asked_to(run, tool):
    assert tool("write_report")(run, "eval.boundary_iou=false", "--data") == 0
    page = (run / "report_val.html").read_text(encoding="utf-8")
    assert page.index('id="labels"') < page.index('id="data-set"')
    assert "train: images" in page and "val: images" in page


def test_scores_and_pages_are_not_overwritten(run, tool):
    for name in ("eval_val.json", "report_val.html"):
        (run / name).write_text("mine", encoding="utf-8")
    assert tool("test")(run, "--report") == 0
    assert {(run / name).read_text(encoding="utf-8") for name in ("eval_val.json", "report_val.html")} == {"mine"}
    plain = segdla.evaluate(run, device="cpu")
    assert json.loads((run / "eval_val-2.json").read_text(encoding="utf-8"))["mean_iou"] == plain.mean_iou
    assert (run / "report_val-2.html").stat().st_size > 10_000


def test_networks_that_cannot_be_compared_are_named_before_the_work(run, fails, tmp_path, monkeypatch):
    other = tmp_path / "other"
    segdla.write_report(run, device="cpu", path=tmp_path / "page.html")
    monkeypatch.setattr("segdla.report.compose.Survey.of", lambda *_: pytest.fail("it began"))
    other.mkdir()
    assert "no scores of the val images" in fails("write_report", other, run)
    message = fails("write_report", run, run, "data.val=2")
    assert "is of other images or classes than the val split of now; let segdla test score both" in message
    assert "3 networks are too many for a page" in fails("write_report", run, run, run)
