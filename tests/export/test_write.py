import math

import numpy as np
import pytest
import torch

from segdla.errors import UserError
from segdla.export.formats import FORMATS, open_file
from segdla.export.graph import Graph
from segdla.export.verify import int8_arithmetic, pictures
from segdla.export.write import Scorer, export, require_unused


class Fake:
    """A format whose files are cards, and whose runtime is the module itself."""

    SUFFIX, WRITES, PACKAGES, INT8, ONE_SIZE = ".fake", (".fake", ".weights"), (), True, False

    def write(self, graph, card, path, calibration):
        list(calibration or ())
        path.write_text(card, encoding="utf-8")
        path.with_suffix(".weights").touch()
        self.program = graph

    def read(self, path, device):
        return lambda images: self.program(images)[0], path.read_text(encoding="utf-8"), device


@pytest.fixture(autouse=True)
def _fake(monkeypatch):
    monkeypatch.setitem(FORMATS, "fake", Fake())


class Wrong(Graph):
    def forward(self, images):
        logits, ids = super().forward(images)
        return logits + torch.linspace(0, 1, logits.shape[1]).view(-1, 1, 1), ids


def scores(*values):
    """A scorer that gives these values, the network's first."""
    given = iter(values)
    return Scorer(lambda logits_of, stride: next(given), 5)


def calibration():
    return (np.ascontiguousarray(image[0].permute(1, 2, 0)) for image in pictures(((32, 48), (40, 40))))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_computes_the_same_is_kept(network, card, tmp_path):
    done = export(network, card, tmp_path / "new" / "a.fake", "fake", scorer=scores(0.5, 0.4991))
    assert names(tmp_path / "new") == ["a.fake", "a.weights"]
    assert done.size == done.path.stat().st_size and all(difference.is_small for difference in done.differences)
    assert (done.scores, done.num_images, done.arithmetic) == ((0.5, 0.4991), 5, "")


def test_a_file_that_computes_something_else_is_not_kept(network, card, tmp_path, monkeypatch):
    monkeypatch.setattr("segdla.export.formats.Graph", Wrong)
    with pytest.raises(
        UserError,
        match=r"the fake file computes something else than the network: logits up to [\d.]+ differ by 1, and the "
        r"classes of \d+ of 620 pixels, at 20x31; .* of 172800 pixels, at 360x480: it is not kept$",
    ):
        export(network, card, tmp_path / "a.fake", "fake")
    assert names(tmp_path) == []


@pytest.mark.parametrize("exported", [0.4989, 0.0, math.nan])
def test_a_file_that_scores_less_is_not_kept(network, card, tmp_path, exported):
    with pytest.raises(
        UserError,
        match=rf"the fake file loses (0\.11|50\.00|nan) points of mIoU \(50\.00 % to {100 * exported:.2f} %; logits "
        r"up to [\d.]+ differ by \S+, and the classes of \d+ of \d+ pixels, at \d+x\d+\): it is not kept$",
    ):
        export(network, card, tmp_path / "a.fake", "fake", scorer=scores(0.5, exported))
    assert names(tmp_path) == []


def test_int8_may_lose_what_is_allowed_and_says_on_which_arithmetic(network, card, tmp_path, monkeypatch):
    monkeypatch.setattr("segdla.export.formats.Graph", Wrong)  # its logits may differ
    options = {"calibration": calibration(), "max_drop": 2.0}
    done = export(network, card, tmp_path / "a.fake", "fake", scorer=scores(0.5, 0.481), **options)
    assert open_file(done.path, torch.device("cpu")).arithmetic == done.arithmetic == int8_arithmetic() != ""
    options["calibration"] = calibration()
    with pytest.raises(UserError, match=r"loses 2\.10 points of mIoU"):
        export(network, card, tmp_path / "b.fake", "fake", scorer=scores(0.5, 0.479), **options)
    unscored = export(network, card, tmp_path / "c.fake", "fake", calibration=calibration())
    assert unscored.arithmetic == open_file(unscored.path, torch.device("cpu")).arithmetic == ""
    assert names(tmp_path) == ["a.fake", "a.weights", "c.fake", "c.weights"]


def test_what_computes_something_else_is_not_scored(network, card, tmp_path, monkeypatch):
    monkeypatch.setattr("segdla.export.formats.Graph", Wrong)
    with pytest.raises(UserError, match="computes something else"):  # not StopIteration: nobody asks for a score
        export(network, card, tmp_path / "a.fake", "fake", scorer=scores())


def test_a_file_that_appeared_meanwhile_is_not_overwritten(network, card, tmp_path):
    path = tmp_path / "a.weights"

    def mean_iou(logits_of, stride):
        path.write_bytes(b"theirs")
        return 0.5

    with pytest.raises(UserError, match=r"a\.weights exists; name another file \(--output\)"):
        export(network, card, tmp_path / "a.fake", "fake", scorer=Scorer(mean_iou, 5))
    assert path.read_bytes() == b"theirs" and names(tmp_path) == ["a.weights"]


def test_names_are_checked_before_anything_is_computed(network, card, tmp_path):
    (tmp_path / "a.weights").touch()
    with pytest.raises(UserError, match=r"a\.weights exists; name another file \(--output\)"):
        export(None, card, tmp_path / "a.fake", "fake")
    with pytest.raises(UserError, match=r"a\.onnx must end in \.fake, as files of the format fake do"):
        require_unused(tmp_path / "a.onnx", "fake")


def test_a_disk_that_fills_is_answered(network, card, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Fake, "write", full)
    with pytest.raises(UserError, match=r"cannot write .*a\.fake: No space left on device; name another file"):
        export(network, card, tmp_path / "a.fake", "fake")
    assert names(tmp_path) == []


def test_a_file_for_one_size_pads_smaller_images(network, card, tmp_path, monkeypatch):
    monkeypatch.setattr(Fake, "ONE_SIZE", True)
    done = export(network, card, tmp_path / "a.fake", "fake", size=(40, 60))
    assert [difference.size for difference in done.differences] == [(40, 60), (40, 60)]
    exported = open_file(done.path, torch.device("cpu"))
    assert exported.size == (40, 60) and exported.stride == 2
    image = pictures(((36, 52),))[0]
    assert exported.logits_of(image).shape[-2:] == (20, 30)
    with torch.inference_mode():
        inside = network.logits(image)[..., :10, :14]  # out of reach of the padding
    torch.testing.assert_close(exported.logits_of(image)[..., :10, :14], inside)
