import json
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from segdla import build, config
from segdla.checkpoint import save_weights
from segdla.data.dataset import Some
from segdla.data.scenes import Scenes
from segdla.errors import UserError
from segdla.export import FORMATS, export, open_exported
from segdla.export.graph import Graph
from segdla.export.verify import differences, pictures
from segdla.models.segmenter import DLASeg
from segdla.trained import open_trained

onnx = pytest.importorskip("onnx", reason='segdla[onnx] is an extra: pip install "segdla[onnx,openvino]"')
onnxruntime = pytest.importorskip("onnxruntime", reason='pip install "segdla[onnx]"')
pytest.importorskip("onnxscript", reason='pip install "segdla[onnx]"')
pytest.importorskip("openvino", reason='pip install "segdla[openvino]"')

CPU = torch.device("cpu")
CARD = {"classes": ["a", "b", "c"], "palette": [[0, 0, 0], [9, 9, 9], [255, 0, 7]], "scores": {"mean_iou": 0.5}}


class ThreeLevels(nn.Module):
    """A backbone that is exported in a second."""

    strides, channels = (1, 2, 4), (4, 6, 8)

    def __init__(self):
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, stride, 1), nn.BatchNorm2d(o), nn.ReLU())
            for i, o, stride in ((3, 4, 1), (4, 6, 2), (6, 8, 2))
        )

    def forward(self, x):
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return DLASeg(ThreeLevels(), 3, output_stride=2).eval()


@pytest.fixture(scope="module")
def files(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    made = {}
    for kind, module in FORMATS.items():
        made[kind] = folder / f"small{module.SUFFIX}"
        export(network, CARD, made[kind], kind)
    return made


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_computes_what_the_network_does_at_any_size(network, files, kind):
    opened = open_exported(files[kind], CPU)
    for found in differences(network, opened, pictures(((64, 96), (75, 101), (13, 40), (128, 33)))):
        assert found.logits < 1e-4 * found.largest, found
        assert found.differing <= 2, found  # ties


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_takes_batches(network, files, kind):
    images = torch.cat(pictures(((40, 56), (40, 56), (40, 56))))
    with torch.inference_mode():
        torch.testing.assert_close(open_exported(files[kind], CPU).logits(images), network.logits(images))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_card_travels_along(files, kind):
    opened = open_exported(files[kind], CPU)
    assert (opened.card, opened.stride, opened.precision) == (CARD, 2, "fp32")


def test_another_program_gets_class_ids_of_bytes(network, files):
    image = pictures(((45, 70),))[0]
    (ids,) = onnxruntime.InferenceSession(files["onnx"]).run(["prediction"], {"images": image.numpy()})
    with torch.inference_mode():
        expected = network(image).argmax(1)
    assert ids.dtype == np.uint8
    assert np.array_equal(ids, expected)


def test_int8_is_near_and_small(network, files, tmp_path):
    export(network, CARD, tmp_path / "int8.onnx", "onnx", (image[0].permute(1, 2, 0).numpy() for image in pictures()))
    opened = open_exported(tmp_path / "int8.onnx", CPU)
    assert opened.precision == "int8"
    for found in differences(network, opened, pictures(((75, 101),))):
        assert 0 < found.logits < 0.2 * found.largest, found
    kinds = {node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="these would compute there")
def test_where_a_runtime_has_no_other_device_it_says_so(files, kind):
    assert open_exported(files[kind], torch.device("cuda")).device == CPU


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_cut_short_is_refused(files, kind, tmp_path):
    short = tmp_path / files[kind].name
    short.write_bytes(files[kind].read_bytes()[:300])
    short.with_suffix(".bin").touch()  # of OpenVINO's two
    with pytest.raises(UserError, match=r"is not a file of tools/export.py's"):
        open_exported(short, CPU)


def test_another_programs_model_is_refused(tmp_path):
    info = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "foreign", info[:1], info[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(UserError, match=r"was not written by tools/export\.py"):
        open_exported(tmp_path / "foreign.onnx", CPU)


class Payload:
    def __reduce__(self):
        return print, ("the payload ran",)


@pytest.mark.parametrize("planted", ["archive", '{"config": {"use_pickle": true}}', '[{"use_pickle":true}]'])
def test_code_in_a_file_is_refused_unrun(files, planted, tmp_path, capfd):
    path = tmp_path / "planted.pt2"
    path.write_bytes(files["torch"].read_bytes())
    torch.save(Payload(), tmp_path / "payload.pt")
    with zipfile.ZipFile(path, "a") as archive:
        if planted == "archive":
            archive.write(tmp_path / "payload.pt", "small/data/sample_inputs/other.pt")
        else:
            archive.writestr("small/data/constants/other_config.json", planted)
    with pytest.raises(UserError, match="can run code"):
        open_exported(path, CPU)
    assert "the payload ran" not in capfd.readouterr().out


def test_a_missing_package_is_named(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r'pip install "segdla\[onnx\]"'):
        export(network, CARD, tmp_path / "x.onnx", "onnx")


def test_some_images_are_from_all_over():
    some = Some(Scenes("val", 9, (32, 48)), 3)
    assert [some.name(i) for i in range(len(some))] == [Scenes("val", 9, (32, 48)).name(i) for i in (0, 4, 8)]


@pytest.fixture
def checkpoint(tmp_path):
    settings = config.parse(
        {"data": {"dataset": "scenes", "size": [64, 96], "train": 4, "val": 4, "workers": 0}},
        ["model.backbone=dla46_c", "model.output_stride=8"],
    )
    classes = Scenes("val", 1, (64, 96)).classes
    card = {"config": settings.model_dump(mode="json"), "classes": classes.names, "palette": classes.palette}
    card |= {"protocol": "", "step": 1, "version": "0", "scores": {}}
    network = build.model(settings, len(classes))
    (tmp_path / "run").mkdir()
    save_weights(tmp_path / "run" / "best.safetensors", network.state_dict(), card)
    return tmp_path / "run"


def test_an_exported_network_scores_as_the_checkpoint(checkpoint, tool, capfd):
    assert tool("export")(checkpoint, "--images", 2) == 0
    assert "written to" in capfd.readouterr().out
    assert tool("test")(checkpoint, "--device", "cpu", "--multiscale") == 0
    assert tool("test")(checkpoint / "best.onnx", "--device", "cpu", "--multiscale") == 0
    scores = [json.loads(path.read_text(encoding="utf-8")) for path in checkpoint.glob("eval_*.json")]
    assert len(scores) == 2
    assert scores[0]["mean_iou"] == pytest.approx(scores[1]["mean_iou"], abs=1e-4)
    with pytest.raises(UserError, match="computes in fp32, as it was exported; leave the precision out"):
        open_trained(checkpoint / "best.onnx", "cpu", overrides=["train.precision=bf16"])
    with pytest.raises(UserError, match=r"leave model\.\* out"):
        open_trained(checkpoint / "best.onnx", "cpu", overrides=["model.backbone=dla34"])
    with pytest.raises(UserError, match="compiled by its own runtime"):
        open_trained(checkpoint / "best.onnx", "cpu", overrides=["eval.compile=true"])
    exported = open_trained(checkpoint / "best.onnx", "cpu")
    assert exported.classes == tuple(Scenes("val", 1, (64, 96)).classes.names)
    assert replace(exported, precision="int8").computing == "int8"  # which is no want of the device
    assert replace(open_trained(checkpoint, "cpu"), precision="bf16").computing == "bf16 (cpu has no fp32)"


def test_a_score_that_is_none_is_no_check(checkpoint, tool, capfd, monkeypatch):
    monkeypatch.setattr("segdla.metrics.ConfusionMatrix.update", lambda *_: None)
    assert tool("export")(checkpoint, "--images", 2, "--int8") == 0
    said = capfd.readouterr().out
    assert "not scored: no labelled pixel in 2 validation images" in said and "its accuracy is unknown" in said


def test_a_file_of_two_says_which_is_gone(files, tmp_path):
    alone = tmp_path / "alone.xml"
    alone.write_bytes(files["openvino"].read_bytes())
    with pytest.raises(UserError, match=r"alone\.bin, which holds its weights, is not beside it"):
        open_exported(alone, CPU)


class Wrong(Graph):
    def forward(self, images):
        logits, ids = super().forward(images)
        return logits + torch.linspace(0, 1, logits.shape[1]).view(-1, 1, 1), ids


def test_a_file_that_computes_something_else_is_not_kept(checkpoint, fails, monkeypatch):
    monkeypatch.setattr("segdla.export.Graph", Wrong)
    assert "computes something else" in fails("export", checkpoint, "--format", "torch")
    assert [path.name for path in checkpoint.iterdir()] == ["best.safetensors"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "torch", "--int8"], "--int8 is for onnx and openvino, not for torch"),
        (["--int8", "--max-drop", "nan"], "--max-drop nan is no number"),
        (["--output", "model.xml"], r"model.xml must end in .onnx for --format onnx"),
        (["--output", "taken.onnx"], "taken.onnx exists; choose another --output"),
        (["--output", "weights.xml", "--format", "openvino"], "weights.bin exists; choose another --output"),
        (["--output", "taken.onnx/model.onnx"], "model.onnx: File exists; choose another --output"),
    ],
)
def test_mistakes_are_answered(checkpoint, fails, tmp_path, words, message):
    for taken in ("taken.onnx", "weights.bin"):
        (tmp_path / taken).write_bytes(b"")
    assert message in fails("export", checkpoint, *words)
