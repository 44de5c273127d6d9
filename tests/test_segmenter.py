"""The trained network as one object."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import NAMES, photo, write
from PIL import Image

import segdla
from segdla.build import predictor as room
from segdla.errors import UserError
from segdla.visualize import colorize


@pytest.fixture(scope="module")
def segmenter(checkpoint):
    return segdla.load(checkpoint, device=torch.device("cpu"))


def test_the_same_image_in_every_way_it_may_be_given(segmenter, tmp_path):
    image = photo(37, 53)
    write(tmp_path / "a.png", image[..., ::-1])
    ids = segmenter.predict(image)
    assert ids.shape == (37, 53) and ids.dtype == np.uint8
    assert len(np.unique(ids)) > 2  # or anything would be equal
    read_only = image[:, ::-1][:, ::-1]
    read_only.flags.writeable = False
    for given in (str(tmp_path / "a.png"), tmp_path / "a.png", Image.open(tmp_path / "a.png"), read_only):
        np.testing.assert_array_equal(segmenter.predict(given), ids)
    for given in ([image, tmp_path / "a.png"], iter([image, image])):
        for one in segmenter.predict(given):
            np.testing.assert_array_equal(one, ids)


def test_grey_is_repeated_and_alpha_dropped(segmenter):
    grey = photo(30, 40)[..., 0]
    ids = segmenter.predict(np.dstack([grey] * 3))
    alpha = np.full_like(grey, 9)
    deep = Image.fromarray(grey.astype(np.uint16) * 256 + 7)
    for given in (grey, Image.fromarray(grey), Image.fromarray(np.dstack([grey, grey, grey, alpha])), deep):
        np.testing.assert_array_equal(segmenter.predict(given), ids)


def test_a_turned_photo_is_predicted_upright(segmenter, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(30, 40)).save(tmp_path / "turned.png", exif=exif)
    ids = segmenter.predict(tmp_path / "turned.png")
    assert ids.shape == (40, 30)
    np.testing.assert_array_equal(segmenter.predict(Image.open(tmp_path / "turned.png")), ids)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        Image.fromarray(np.zeros((4, 4), np.int32)),
        Image.new("RGB", (0, 4)),
        7,
        "nowhere.png",
    ],
)
def test_what_is_no_image(segmenter, image):
    with pytest.raises(UserError) as answer:
        segmenter.predict(image)
    assert "\n" not in str(answer.value)


OPTIONS = [
    {},
    {"flip": True},
    {"multiscale": True},
    {"multiscale": (0.5, 1.5), "flip": True},
    {"window": (32, 32)},
    {"window": (40, 32), "multiscale": (1, 1.25), "flip": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("merge", ["logprobs", "probs"])
def test_scores_are_probabilities_that_decide_as_predict_does(checkpoint, options, merge, monkeypatch):
    parse = segdla.trained.configs.parse
    monkeypatch.setattr(
        segdla.trained.configs, "parse", lambda v, o, source: parse(v, [*o, f"eval.merge={merge}"], source=source)
    )
    segmenter = segdla.load(checkpoint, "cpu", **options)
    image = photo(75, 61)
    scores, ids = segmenter.scores(image), segmenter.predict(image)
    assert scores.shape == (len(NAMES), 75, 61) and scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(0), 1, atol=1e-5)
    assert scores.min() >= 0 and len(np.unique(ids)) > 1
    chosen = np.take_along_axis(scores, ids[None].astype(int), 0)[0]
    np.testing.assert_allclose(chosen, scores.max(0), atol=1e-6)


@pytest.mark.parametrize("merge", ["logprobs", "probs"])
def test_scores_of_scales_are_their_mean(checkpoint, merge):
    """Of one scale given twice the mean is that of one; of an image and its mirror image it is symmetric."""
    image = photo(40, 48)
    once = segdla.load(checkpoint, "cpu").scores(image)
    twice = segdla.load(checkpoint, "cpu", multiscale=(1, 1)).scores(image)
    np.testing.assert_allclose(twice, once, atol=1e-5)
    symmetric = np.concatenate([image, image[:, ::-1]], axis=1)
    scores = segdla.load(checkpoint, "cpu", flip=True).scores(symmetric)
    np.testing.assert_allclose(scores, scores[..., ::-1], atol=1e-4)


def test_only_large_images_are_seen_by_windows(checkpoint, monkeypatch):
    monkeypatch.setattr(room, "LARGE", 40 * 60)
    monkeypatch.setattr(room, "LARGE_WINDOW", (32, 32))
    image, large = photo(40, 60), photo(40, 61)
    auto, whole, windows = (segdla.load(checkpoint, "cpu", window=w) for w in ("auto", "whole", (32, 32)))
    np.testing.assert_array_equal(auto.scores(image), whole.scores(image))
    np.testing.assert_array_equal(auto.scores(large), windows.scores(large))
    assert not np.array_equal(whole.scores(large), windows.scores(large))
    scaled = segdla.load(checkpoint, "cpu", multiscale=(1, 1.25))  # memory goes with the largest scale
    seen = segdla.load(checkpoint, "cpu", multiscale=(1, 1.25), window=(32, 32))
    np.testing.assert_array_equal(scaled.scores(image), seen.scores(image))


def test_colours_of_an_image_and_of_ids(segmenter):
    image = photo(30, 40)
    expected = colorize(segmenter.predict(image), segmenter.palette)
    np.testing.assert_array_equal(segmenter.colorize(image), expected)
    np.testing.assert_array_equal(segmenter.colorize(segmenter.predict(image)), expected)
    for one in segmenter.colorize([image, segmenter.predict(image)]):
        np.testing.assert_array_equal(one, expected)


def test_it_knows_its_classes(segmenter, checkpoint):
    assert segmenter.classes == NAMES and segmenter.palette[1] == (200, 0, 0)
    assert repr(segmenter) == f"Segmenter({checkpoint}, 5 classes, cpu)"


def test_several_threads_at_once(segmenter):
    images = [photo(40 + 3 * (i % 5), 50 + i % 3, i) for i in range(16)]
    expected = [segmenter.predict(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(segmenter.predict, images))
    for ids, one in zip(together, expected, strict=True):
        np.testing.assert_array_equal(ids, one)


def test_a_precision_of_ones_own(checkpoint):
    assert segdla.load(checkpoint, "cpu", precision="fp32").trained.precision == "fp32"
    with pytest.raises(UserError, match=r"train\.precision"):
        segdla.load(checkpoint, "cpu", precision="fp12")


@pytest.mark.parametrize(
    "options", [{"multiscale": (0.5, 0)}, {"multiscale": 2}, {"multiscale": ()}, {"multiscale": (1e9,)}]
)
def test_scales_that_are_none(checkpoint, options):
    with pytest.raises(UserError, match="scales up to 16"):
        segdla.load(checkpoint, **options)


@pytest.mark.parametrize("window", [5, (5,), (0, 3), "all", np.array([8, 8])])
def test_windows_that_are_none(checkpoint, window):
    with pytest.raises(UserError, match=r"\(height, width\)"):
        segdla.load(checkpoint, window=window)


class Payload:
    def __reduce__(self):
        return (eval, ("__import__('pathlib').Path('ran').touch()",))


@pytest.mark.parametrize("name", ["model.pth", "model.pt", "model.safetensors", "best.ckpt"])
def test_code_in_a_checkpoint_is_not_run(name, tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Payload()}, tmp_path / name)
    with pytest.raises(UserError, match=f"{name} is not a checkpoint"):
        segdla.load(tmp_path / name)
    write(tmp_path / "a.png", photo(8, 8))
    assert name in fails("predict", "a.png", "--checkpoint", name)
    assert not (tmp_path / "ran").exists()


def test_loading_in_a_fresh_interpreter_without_a_network_is_silent(checkpoint):
    code = f"""
import socket
def refuse(*_, **__): raise AssertionError("the network was asked for")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
import numpy as np, segdla
assert segdla.load({str(checkpoint)!r}, "cpu").predict(np.zeros((9, 11, 3), np.uint8)).shape == (9, 11)
"""
    root = Path(segdla.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_compiled_it_is_for_all_sizes_and_the_same(segmenter, checkpoint, monkeypatch):
    asked = []

    def compiling(function, dynamic=None):
        asked.append(dynamic)
        return function

    monkeypatch.setattr(torch, "compile", compiling)
    image = photo(37, 53)
    np.testing.assert_array_equal(
        segdla.load(checkpoint, device="cpu", compile=True).predict(image), segmenter.predict(image)
    )
    assert asked[-1] is True
