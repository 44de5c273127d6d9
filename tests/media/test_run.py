"""Files in, pictures out: the whole way, through the command and below it."""

import io
import json
import sys
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from distributed_work import predict_as_one_of_several
from processes import run_together
from support import NAMES, photo, write

import segdla
from segdla.checkpoints.checkpoint import read_checkpoint, write_checkpoint
from segdla.data.images import read_mask
from segdla.errors import UserError
from segdla.media.inputs import Input
from segdla.media.outputs import Output
from segdla.media.run import predict_files

PALETTE = ((0, 0, 0), (255, 255, 255))


@pytest.fixture
def predict(tool, checkpoint):
    return lambda *argv: tool("predict")(*argv, "--checkpoint", checkpoint, "--device", "cpu")


def film(path, count=7, size=(48, 64), rate=12.5):
    """A video of noise, as OpenCV's own writer makes it."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (size[1], size[0]))
    for index in range(count):
        writer.write(photo(*size, index))
    writer.release()


def test_video_in_video_out(predict, tmp_path):
    film(tmp_path / "film.avi")
    assert predict("film.avi", "--output-kind", "ids,color,overlay,side-by-side", "--no-legend") == 0
    for kind, width in (("color", 64), ("overlay", 64), ("side-by-side", 128)):
        video = cv2.VideoCapture(str(tmp_path / "predictions" / kind / "film.mp4"))
        assert video.get(cv2.CAP_PROP_FPS) == 12.5
        shapes = []
        while (frame := video.read())[0]:
            shapes.append(frame[1].shape)
        assert shapes == [(48, width, 3)] * 7
    ids = sorted((tmp_path / "predictions" / "ids" / "film.frames").iterdir())
    assert len(ids) == 7 and read_mask(ids[6]).shape == (48, 64)


def test_frames_are_predicted_in_order_and_as_images(predict, tmp_path, checkpoint):
    film(tmp_path / "film.avi")
    predict("film.avi", "--output-kind", "ids")
    capture, segmenter = cv2.VideoCapture("film.avi"), segdla.load(checkpoint, "cpu")
    for index in range(7):
        expected = segmenter.predict(np.ascontiguousarray(capture.read()[1][..., ::-1]))
        np.testing.assert_array_equal(read_mask(tmp_path / f"predictions/ids/film.frames/{index:07}.png"), expected)


def test_smoothing_is_of_each_video_by_itself(predict, tmp_path, checkpoint):
    pictures = [photo(48, 64), photo(48, 64) // 2, photo(48, 64)]
    for name in ("a", "b"):
        writer = cv2.VideoWriter(f"{name}.avi", cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
        for picture in pictures:
            writer.write(picture)
        writer.release()
    assert predict("a.avi", "b.avi", "--smooth", "--output-kind", "ids") == 0
    capture, segmenter = cv2.VideoCapture("a.avi"), segdla.load(checkpoint, "cpu")
    frames = [np.ascontiguousarray(capture.read()[1][..., ::-1]) for _ in pictures]
    expected = [*map(segmenter.smoothed(), frames)]
    for name in ("a", "b"):
        for index, ids in enumerate(expected):
            there = read_mask(tmp_path / f"predictions/ids/{name}.frames/{index:07}.png")
            np.testing.assert_array_equal(there, ids)


def test_smoothing_needs_a_video(fails, tmp_path, checkpoint):
    write(tmp_path / "a.png", photo(20, 30))
    output = fails("predict", "a.png", "--smooth", "--checkpoint", checkpoint)
    assert "--smooth needs a video or a camera, and these are images; leave it out" in output


def test_a_bad_file_is_reported_and_the_rest_goes_on(predict, tmp_path, capfd):
    for name in ("a.png", "z.png"):
        write(tmp_path / "album" / name, photo(20, 30))
    (tmp_path / "album" / "m.png").write_bytes(b"no image")
    (tmp_path / "album" / "n.mp4").write_bytes(b"no video")
    film(tmp_path / "album" / "cut.avi", 30)
    content = (tmp_path / "album" / "cut.avi").read_bytes()
    (tmp_path / "album" / "cut.avi").write_bytes(content[: len(content) // 3])
    assert predict("album") == 1
    output = capfd.readouterr()
    assert [line.split()[1] for line in output.err.splitlines()] == ["album/cut.avi", "album/m.png", "album/n.mp4"]
    assert "2 of 5 predicted, 3 failed, in predictions/" in output.out
    folder = tmp_path / "predictions" / "color"
    assert sorted(folder.glob("*.png")) == [folder / "a.png", folder / "z.png"]
    assert predict("album/m.png") == 2


def test_a_list_on_stdin(predict, tmp_path, monkeypatch):
    for name in ("a/Straße 1.png", "b/Straße 1.png"):
        write(tmp_path / name, photo(20, 30))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("a/Straße 1.png\nb/Straße 1.png\nc.png\n".encode())))
    assert predict("-") == 1
    folder = tmp_path / "predictions" / "color"
    assert sorted(folder.rglob("*.png")) == [folder / "a" / "Straße 1.png", folder / "b" / "Straße 1.png"]


def test_skipping_what_is_there_and_nothing_else(predict, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        write(tmp_path / "album" / name, photo(20, 30))
    film(tmp_path / "album" / "c.avi", 2)
    predict("album", "--skip-existing")
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "predictions").glob("*/*.*")}
    lost = tmp_path / "predictions" / "overlay" / "a.png"
    lost.rename(lost.with_name("a.png.partial"))  # as after a kill
    capsys.readouterr()
    assert predict("album", "--skip-existing") == 0
    assert "1 of 3 predicted, 2 there already" in capsys.readouterr().out
    assert not list((tmp_path / "predictions").rglob("*.partial"))
    for path, at in done.items():
        assert (path.stat().st_mtime_ns > at) == (path.name == "a.png"), path
    assert predict("album", "--skip-existing") == 0  # nothing to do is no failure


def test_options_reach_the_network(predict, tmp_path, checkpoint):
    write(tmp_path / "a.png", photo(80, 90)[..., ::-1])
    predict("a.png", "--multiscale", "--flip", "--window", 48, 40, "--output-kind", "ids")
    expected = segdla.load(checkpoint, "cpu", multiscale=True, flip=True, window=(48, 40)).predict(photo(80, 90))
    np.testing.assert_array_equal(read_mask(tmp_path / "predictions/ids/a.png"), expected)
    assert not np.array_equal(expected, segdla.load(checkpoint, "cpu").predict(photo(80, 90)))


def test_the_range_of_samples_is_the_one_of_training(tool, tmp_path, checkpoint):
    read = read_checkpoint(checkpoint)
    folder = {"dataset": "folder", "classes": NAMES, "train": {"list": "a"}, "val": {"list": "b"}}
    card = replace(read.card, config={**read.card.config, "data": {**folder, "sample_range": [0, 4095]}})
    write_checkpoint(tmp_path / "ranged.safetensors", read.state_dict, card)
    write(tmp_path / "a.png", photo(40, 56)[..., ::-1].astype(np.uint16) * 16)
    tool("predict")("a.png", "--output-kind", "ids", "--checkpoint", "ranged.safetensors", "--device", "cpu")
    expected = segdla.load(checkpoint, "cpu").predict(photo(40, 56))
    np.testing.assert_array_equal(read_mask(tmp_path / "predictions/ids/a.png"), expected)
    ranged = segdla.load(tmp_path / "ranged.safetensors", "cpu")
    np.testing.assert_array_equal(ranged.predict(tmp_path / "a.png"), expected)


def test_an_unknown_kind(fails):
    output = fails("predict", "x", "--output-kind", "ids,colour")
    assert "'colour' is none of ids, color, masks, overlay, side-by-side" in output


def test_under_torchrun_each_input_is_done_once(tmp_path, checkpoint):
    for index in range(5):
        write(tmp_path / "album" / f"{index}.png", photo(20, 30))
    (tmp_path / "album" / "3.png").write_bytes(b"")  # all hear of one that failed
    assert run_together(predict_as_one_of_several, tmp_path, checkpoint) == [1, 1]
    shares = [(tmp_path / f"read_by_{rank}").read_text().splitlines() for rank in range(2)]
    assert sorted(map(sorted, shares)) == [["0.png", "2.png", "4.png"], ["1.png", "3.png"]]
    names = [f"{i}.png" for i in (0, 1, 2, 4)]
    assert sorted(p.name for p in (tmp_path / "out" / "color").iterdir()) == names
    together = json.loads((tmp_path / "out" / "coco" / "annotations" / "instances_default.json").read_text())
    assert [image["file_name"] for image in together["images"]] == names


# Below the tool, with a prediction that is as slow as the test wants.


def inputs_of(tmp_path, count):
    write(tmp_path / "a.png", photo(16, 16))
    return [Input(str(tmp_path / "a.png"), f"{index:03}") for index in range(count)]


def silent(*_):
    pass


def test_few_images_are_in_memory_at_once(tmp_path, monkeypatch):
    read, written, most = [], [], []
    monkeypatch.setattr("segdla.media.run._threads", lambda *_: 2)
    monkeypatch.setattr(
        "segdla.media.run.read_image", lambda path, _: read.append(path) or np.zeros((8, 8, 3), np.uint8)
    )

    class Slow(Output):
        def write(self, entry, image, ids):
            time.sleep(0.002)
            written.append(entry)

    def predict(image):
        most.append(len(read) - len(written))
        return image[..., 0]

    tally = predict_files(inputs_of(tmp_path, 100), predict, Slow(tmp_path, (), (), ()), silent, silent)
    assert tally.done == 100 and len(written) == 100
    assert max(most) <= 4 + 1 + 2 + 2 + 1  # read ahead, in hand, waiting to be written, being written, just ended


def test_reading_computing_and_writing_overlap(tmp_path, monkeypatch):
    """Each waits for another to be at it at the same time, for a while: one after the other, none ever would."""
    at_it, met = threading.Barrier(3), []

    def meet():
        try:
            at_it.wait(5)
            met.append(1)
        except threading.BrokenBarrierError:
            pass

    monkeypatch.setattr("segdla.media.run._threads", lambda *_: 1)
    reads = []

    def read(path, _):
        reads.append(path)
        if len(reads) == 3:
            meet()
        return np.zeros((8, 8, 3), np.uint8)

    class Writing(Output):
        def write(self, entry, image, ids):
            if entry.name == "000":
                meet()

    def predict(image):
        counted.append(1)
        if len(counted) == 2:
            meet()
        return image[..., 0]

    counted = []
    monkeypatch.setattr("segdla.media.run.read_image", read)
    predict_files(inputs_of(tmp_path, 6), predict, Writing(tmp_path, (), (), ()), silent, silent)
    assert len(met) == 3


def test_what_can_not_be_written_ends_it(tmp_path):
    (tmp_path / "ids").touch()
    with pytest.raises(UserError, match="cannot write"):
        predict_files(
            inputs_of(tmp_path, 50), lambda i: i[..., 0], Output(tmp_path, ("ids",), ("a",), PALETTE), silent, silent
        )


def test_ticks_add_up(tmp_path):
    film(tmp_path / "film.avi", 5)
    ticks = []
    inputs = [*inputs_of(tmp_path, 2), Input(str(tmp_path / "film.avi"), "film"), Input("none.png", "none")]
    output = Output(tmp_path, ("ids",), ("a",), PALETTE)
    tally = predict_files(inputs, lambda i: i[..., 0], output, silent, lambda *tick: ticks.append(tick))
    assert (tally.done, tally.failed, tally.frames) == (3, 1, 5)
    assert sum(done for done, _ in ticks) == len(inputs) + sum(more for _, more in ticks) == 3 + 5
