import json
import subprocess
import sys

import numpy as np
import pytest

from segdla.checkpoints.checkpoint import Card, write_checkpoint
from segdla.config import parse
from segdla.data.labels import IGNORE_INDEX
from segdla.data.scenes import Scenes
from segdla.errors import UserError
from segdla.export.formats import FORMATS
from segdla.export.graph import Graph
from segdla.export.write import Export
from segdla.models.from_config import build_network
from segdla.trained.open import open_trained

for package in ("onnx", "onnxruntime", "onnxscript", "openvino"):
    pytest.importorskip(package, reason='exporting takes extras: pip install "segdla[onnx,openvino]"')


@pytest.fixture
def run(tmp_path):
    """A run on drawn scenes, of a network that nobody trained and that is exported in half the time of others."""
    overrides = {"model.backbone": "dla46_c", "model.output_stride": 32}
    overrides |= {"model.decoder": "none", "model.aggregation": "none"}
    config = parse({"data": {"dataset": "scenes", "size": [64, 96], "train": 4, "val": 4, "workers": 0}}, overrides)
    network = build_network(config.model, len(Scenes.classes))
    (tmp_path / "runs" / "a").mkdir(parents=True)
    card = Card(config.model_dump(mode="json"), Scenes.classes, step=1, version="0")
    write_checkpoint(tmp_path / "runs" / "a" / "best.safetensors", network.state_dict(), card)
    return tmp_path / "runs" / "a"


def test_an_exported_network_scores_as_the_checkpoint(run, tool, capfd):
    assert tool("export")("--images", 9) == 0  # the newest run, whatever it was trained on
    output = capfd.readouterr().out
    assert "runs/a/best.safetensors (the newest run) to onnx" in output and "written to runs/a/best.onnx" in output
    assert "mIoU on 4 validation images" in output  # there are no more
    assert "360x480" in output and "of 172800" in output  # a row of the table
    assert tool("test")(run, "--device", "cpu", "--multiscale") == 0
    assert tool("test")(run / "best.onnx", "--device", "cpu", "--multiscale") == 0
    scores = [json.loads(path.read_text(encoding="utf-8")) for path in run.glob("eval_*.json")]
    assert len(scores) == 2
    assert scores[0]["mean_iou"] == pytest.approx(scores[1]["mean_iou"], abs=1e-4)
    with pytest.raises(UserError, match="computes in fp32, as it was exported; leave the precision out"):
        open_trained(run / "best.onnx", "cpu", overrides={"train.precision": "bf16"})
    with pytest.raises(UserError, match=r"leave model\.\* out"):
        open_trained(run / "best.onnx", "cpu", overrides={"model.backbone": "dla34"})
    with pytest.raises(UserError, match="compiled by its own runtime"):
        open_trained(run / "best.onnx", "cpu", overrides={"eval.compile": True})
    exported = open_trained(run / "best.onnx", "cpu")
    assert exported.classes == Scenes.classes
    assert str(exported.machine) == "fp32"


def test_int8_says_on_which_arithmetic_it_was_scored(run, tool, capfd, monkeypatch):
    done = Export(run / "best_int8.onnx", 10**6, [], (0.5, 0.49), 20, "AVX2 without VNNI")
    monkeypatch.setattr("segdla.export.from_config.export_network", lambda *_, **__: done)
    assert tool("export")(run, "--int8") == 0
    output = capfd.readouterr().out
    line = "mIoU on 20 validation images: 50.00 %, exported 49.00 % (8-bit products on AVX2 without VNNI)"
    assert line in output.splitlines()
    assert "runs/a/best.safetensors to onnx, int8" in output


def test_a_score_that_is_none_is_no_check(run, tool, capfd, monkeypatch):
    monkeypatch.setattr(Scenes, "target", lambda *_: np.full((8, 8), IGNORE_INDEX, np.uint8))

    def write(network, card, path, kind, *, scorer, **_):
        assert scorer is None
        return Export(path, 10**6, [])

    monkeypatch.setattr("segdla.export.from_config.export", write)
    assert tool("export")(run, "--images", 2, "--int8") == 0
    output = capfd.readouterr().out
    assert "not scored: no labelled pixel of a class in 2 validation images" in output
    assert "its accuracy is unknown" in output


def test_the_help_names_every_format_and_is_quick(fails):
    code = (
        "import sys; from segdla.__main__ import main\n"
        "try: main(['export', '--help'])\n"
        "except SystemExit: print({'torch', 'numpy', 'onnx'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    assert f"{', '.join(list(FORMATS)[:-1])} or {list(FORMATS)[-1]}" in " ".join(done.stdout.split())
    assert f"--format 'jpeg': choose one of {', '.join(FORMATS)}" in fails("export", "--format", "jpeg")


class Wrong(Graph):
    def forward(self, images):
        logits, ids = super().forward(images)
        return logits + 1, ids


def test_a_file_that_computes_something_else_is_not_kept(run, fails, monkeypatch):
    monkeypatch.setattr("segdla.export.formats.Graph", Wrong)
    assert "computes something else" in fails("export", run, "--format", "torch")
    assert [path.name for path in run.iterdir()] == ["best.safetensors"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "torch", "--int8"], "int8 is for onnx, openvino and litert, not for torch"),
        (["--int8", "--max-drop", "nan"], "max_drop (--max-drop) is nan: give a number of points"),
        (["--output", "model.xml"], r"model.xml must end in .onnx, as files of the format onnx do"),
        (["--output", "taken.onnx"], "taken.onnx exists; name another file (--output)"),
        (["--output", "weights.xml", "--format", "openvino"], "weights.bin exists; name another file (--output)"),
        (["--output", "taken.onnx/model.onnx"], "model.onnx: File exists; name another file (--output)"),
    ],
)
def test_mistakes_are_answered(run, fails, tmp_path, words, message):
    for taken in ("taken.onnx", "weights.bin"):
        (tmp_path / taken).write_bytes(b"")
    assert message in fails("export", run, *words)
