"""The trained network as one object."""

import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import NAMES, photo, write

import segdla
from segdla.errors import UserError
from segdla.inference import from_config as inference
from segdla.models.from_config import build_network
from segdla.trained.open import open_trained
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
    for form in (str(tmp_path / "a.png"), tmp_path / "a.png", Image.open(tmp_path / "a.png"), read_only):
        np.testing.assert_array_equal(segmenter.predict(form), ids)
    for several in ([image, tmp_path / "a.png"], iter([image, image])):
        for one in segmenter.predict(several):
            np.testing.assert_array_equal(one, ids)


def test_a_tensor_or_a_batch_is_predicted_at_once(segmenter):
    images = [photo(37, 53, seed) for seed in range(3)]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    ids, scores = np.stack(segmenter.predict(images)), np.stack(segmenter.probabilities(images))
    sizes = []
    logits_of = segmenter.trained.logits_of
    counting = replace(segmenter.trained, logits_of=lambda images: sizes.append(len(images)) or logits_of(images))
    counting = replace(segmenter, trained=counting)
    assert (counting.predict(batch).numpy() == ids).mean() > 0.99  # a batch may be rounded otherwise
    assert sizes == [3]
    np.testing.assert_allclose(segmenter.probabilities(batch), scores, atol=5e-3)
    for image in (batch[1], batch[1].float()):
        one = segmenter.predict(image)
        assert isinstance(one, torch.Tensor) and one.dtype == torch.uint8 and one.shape == (37, 53)
        np.testing.assert_array_equal(one, ids[1])
    np.testing.assert_array_equal(segmenter.colorize(batch[1]), segmenter.colorize(images[1]))
    for one, expected in zip(segmenter.predict(iter([batch[0], images[1]])), ids, strict=False):
        np.testing.assert_array_equal(one, expected)


def test_a_runtime_of_bytes_is_given_bytes(segmenter):
    def runtime(images):
        assert images.dtype == torch.uint8
        return segmenter.trained.logits_of(images)

    exported = segdla.Segmenter(replace(segmenter.trained, logits_of=runtime, model=None))
    image = torch.from_numpy(photo(40, 56)).permute(2, 0, 1)
    assert torch.equal(exported.predict(image + 0.25), segmenter.predict(image))


@pytest.mark.parametrize("shape", [(37, 53), (37, 53, 3), (1, 37, 53), (0, 3, 8, 8), (1, 1, 3, 8, 8)])
def test_a_tensor_that_is_no_image(segmenter, shape):
    with pytest.raises(UserError, match=r"is RGB \(3, H, W\) or \(B, 3, H, W\) in 0..255, not \("):
        segmenter.predict(torch.zeros(shape, dtype=torch.uint8))


@pytest.mark.parametrize("options", [{}, {"multiscale": (1, 1.25), "flip": True, "window": (32, 32)}], ids=str)
def test_pickled_it_predicts_the_same(checkpoint, options):
    segmenter = segdla.load(checkpoint, "cpu", **options)
    image = photo(50, 60)
    ids = segmenter.predict(image)
    content = pickle.dumps(segmenter)
    assert len(content) < 100_000  # the file is opened again
    copied = pickle.loads(content)
    np.testing.assert_array_equal(copied.predict(image), ids)
    assert repr(copied) == repr(segmenter) and copied.trained.config == segmenter.trained.config


def test_an_own_network_is_left_as_it_is(checkpoint):
    """The network handed in describes the architecture; a copy gets the weights and is changed to predict fast."""
    config = open_trained(checkpoint, "cpu").config
    own = build_network(config.model, len(NAMES))
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    segmenter = segdla.load(checkpoint, "cpu", model=own)
    image = photo(40, 50)
    np.testing.assert_array_equal(segmenter.predict(image), segdla.load(checkpoint, "cpu").predict(image))
    assert own.training and own.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(segmenter)).predict(image), segmenter.predict(image))


def test_grey_is_repeated_and_alpha_dropped(segmenter):
    grey = photo(30, 40)[..., 0]
    ids = segmenter.predict(np.dstack([grey] * 3))
    alpha = np.full_like(grey, 9)
    deep = Image.fromarray(grey.astype(np.uint16) * 256 + 7)
    for form in (grey, Image.fromarray(grey), Image.fromarray(np.dstack([grey, grey, grey, alpha])), deep):
        np.testing.assert_array_equal(segmenter.predict(form), ids)


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
def test_scores_are_probabilities_that_decide_as_predict_does(checkpoint, options, merge):
    segmenter = segdla.load(checkpoint, "cpu", **options)
    trained = open_trained(checkpoint, "cpu", overrides={**segmenter.trained.overrides, "eval.merge": merge})
    segmenter = replace(segmenter, trained=trained)
    image = photo(75, 61)
    scores, ids = segmenter.probabilities(image), segmenter.predict(image)
    assert scores.shape == (len(NAMES), 75, 61) and scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(0), 1, atol=1e-5)
    assert scores.min() >= 0 and len(np.unique(ids)) > 1
    chosen = np.take_along_axis(scores, ids[None].astype(int), 0)[0]
    np.testing.assert_allclose(chosen, scores.max(0), atol=1e-6)
    same_ids, confidence = segmenter.predict_with_confidence(image)
    np.testing.assert_array_equal(same_ids, ids)
    np.testing.assert_allclose(confidence, chosen, atol=1e-5)
    (of_list,) = segmenter.predict_with_confidence([image])
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    of_batch = [values[0] for values in segmenter.predict_with_confidence(batch)]
    for several in (of_list, of_batch):
        np.testing.assert_array_equal(several[0], ids)
        np.testing.assert_array_equal(several[1], confidence)


@pytest.mark.parametrize("merge", ["logprobs", "probs"])
def test_scores_of_scales_are_their_mean(checkpoint, merge):
    """A scale given twice changes nothing; with mirrored images, the scores of a symmetric image are symmetric."""
    image = photo(40, 48)
    once = segdla.load(checkpoint, "cpu").probabilities(image)
    twice = segdla.load(checkpoint, "cpu", multiscale=(1, 1)).probabilities(image)
    np.testing.assert_allclose(twice, once, atol=1e-5)
    symmetric = np.concatenate([image, image[:, ::-1]], axis=1)
    scores = segdla.load(checkpoint, "cpu", flip=True).probabilities(symmetric)
    np.testing.assert_allclose(scores, scores[..., ::-1], atol=1e-4)


def test_only_large_images_are_seen_by_windows(checkpoint, monkeypatch):
    monkeypatch.setattr(inference, "LARGE", 40 * 60)
    monkeypatch.setattr(inference, "LARGE_WINDOW", (32, 32))
    image, large = photo(40, 60), photo(40, 61)
    auto, whole, windows = (segdla.load(checkpoint, "cpu", window=w) for w in ("auto", "whole", (32, 32)))
    np.testing.assert_array_equal(auto.probabilities(image), whole.probabilities(image))
    np.testing.assert_array_equal(auto.probabilities(large), windows.probabilities(large))
    assert not np.array_equal(whole.probabilities(large), windows.probabilities(large))
    large_scale = segdla.load(checkpoint, "cpu", multiscale=(1, 1.25))  # memory goes with the largest scale
    by_windows = segdla.load(checkpoint, "cpu", multiscale=(1, 1.25), window=(32, 32))
    np.testing.assert_array_equal(large_scale.probabilities(image), by_windows.probabilities(image))


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


def test_a_folder_is_no_image(segmenter, tmp_path):
    with pytest.raises(
        UserError, match=f"{re.escape(str(tmp_path))} is a directory, not an image file; name its files"
    ):
        segmenter.predict(tmp_path)


def test_a_precision_of_ones_own(checkpoint):
    assert segdla.load(checkpoint, "cpu", precision="fp32").trained.machine.precision == "fp32"
    with pytest.raises(UserError, match=r"train\.precision"):
        segdla.load(checkpoint, "cpu", precision="fp12")


@pytest.mark.parametrize(
    ("scales", "answer"),
    [
        ((0.5, 0), r"'eval\.scales\.1' is 0: it should be greater than 0"),
        (2, r"'eval\.scales' is 2: it should be a list"),
        ((), r"'eval\.scales' is \(\): .*at least 1 item"),
        ((1e9,), r"'eval\.scales\.0' is 1000000000\.0: it should be less than or equal to 16"),
    ],
)
def test_scales_that_are_none(checkpoint, scales, answer):
    with pytest.raises(UserError, match=answer):
        segdla.load(checkpoint, multiscale=scales)


@pytest.mark.parametrize(
    ("window", "answer"),
    [
        (5, r"'eval\.window' is 5: .* 'auto' or 'whole'"),
        ((5,), r"'eval\.window\.1' is missing"),
        ((0, 3), r"'eval\.window\.0' is 0: it should be greater than 0"),
        ("all", r"'eval\.window' is 'all': .* 'auto' or 'whole'"),
    ],
)
def test_windows_that_are_none(checkpoint, window, answer):
    with pytest.raises(UserError, match=answer):
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
