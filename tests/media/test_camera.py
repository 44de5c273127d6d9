"""Cameras, by a stand-in of OpenCV's: there is none on the machines that run tests."""

import itertools
import queue
import signal
import threading
from types import SimpleNamespace
from unittest import mock

import cv2
import numpy as np
import pytest
from support import photo

from segdla.errors import UserError
from segdla.media.camera import Camera
from segdla.media.inputs import Input, find_inputs
from segdla.media.outputs import Output
from segdla.media.run import _rate, predict_files
from segdla.media.video import VideoReader

FRONT = Input("camera:0", "camera-0")


class Capture:
    """OpenCV's VideoCapture with a camera behind number 0, whose frames are as bright as their number times ten."""

    frames, error, at_end = 8, None, threading.Event

    def __init__(self, number, *rest):
        self.file = real(number, *rest) if isinstance(number, str) else None
        self.number, self.count = number, 0

    def __getattr__(self, name):
        return getattr(self.file, name)

    def isOpened(self):  # noqa: N802 (OpenCV's name)
        return self.file.isOpened() if self.file else self.number == 0

    def read(self):
        if self.file:
            return self.file.read()
        wanted.acquire()
        if self.error:
            raise self.error
        if self.count == self.frames:
            return False, None
        self.count += 1
        return True, np.full((48, 64, 3), (0, 0, 10 * self.count), np.uint8)

    def release(self):
        if self.file:
            self.file.release()


real = cv2.VideoCapture
wanted: threading.Semaphore


@pytest.fixture(autouse=True)
def camera(monkeypatch):
    """``camera(n)`` lets it give n more frames, 25 a second."""
    global wanted
    wanted = threading.Semaphore(1)
    frames = itertools.count()
    monkeypatch.setattr("segdla.media.camera.time", SimpleNamespace(monotonic=lambda: next(frames) / 25))
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    yield wanted.release
    wanted.release(100)  # for a thread that still waits


@pytest.fixture
def output(tmp_path):
    return Output(tmp_path / "out", ("color", "ids"), ("a", "b"), ((0, 0, 0), (250, 0, 0)))


def record(output, predict):
    complaints = []
    tally = predict_files([FRONT], predict, output, lambda error: complaints.append(str(error)), lambda *_: None)
    return tally, complaints


def frames_in(path):
    reader = VideoReader(path)
    frames = [frame.image for frame in reader.frames()]
    reader.close()
    return frames


def test_ctrl_c_ends_a_recording_with_a_file_that_plays(output, capsys, camera):
    seen = []

    def predict(image):
        seen.append(image[0, 0, 0])
        camera()
        if len(seen) == 5:
            signal.raise_signal(signal.SIGINT)
        return np.ones((48, 64), np.uint8)

    tally, complaints = record(output, predict)
    assert (tally.done, tally.frames, tally.status, complaints) == (1, 5, 0, [])
    assert seen == [10, 20, 30, 40, 50]
    assert len(frames_in(output.folder / "color" / "camera-0.mp4")) == 5
    assert len([*(output.folder / "ids" / "camera-0.frames").iterdir()]) == 5
    assert f"camera:0: 5 frames in {output.folder}/color/camera-0.mp4, " in capsys.readouterr().out


def test_the_command(tool, tmp_path, checkpoint, camera, capsys, monkeypatch):
    from segdla.trained.segmenter import Segmenter

    def smoothed(self):
        def predict(image):
            camera()
            signal.raise_signal(signal.SIGTERM)
            return np.zeros(image.shape[:2], np.uint8)

        return predict

    monkeypatch.setattr(Segmenter, "smoothed", smoothed)
    assert tool("predict")("camera:0", "--checkpoint", checkpoint, "--device", "cpu", "--smooth") == 0
    assert "recording camera:0 until Ctrl-C" in capsys.readouterr().out
    assert len(frames_in(tmp_path / "predictions" / "overlay" / "camera-0.mp4")) == 1


def test_frames_that_nobody_asked_for_are_dropped(camera):
    frames = Camera(0).frames()
    assert next(frames).image[0, 0, 0] == 10
    wanted.release(Capture.frames)  # the rest, and the end
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.name.endswith("(_follow)"):
            thread.join()
    newest = next(frames)
    assert newest.image[0, 0, 0] == 10 * Capture.frames and newest.seconds > 0
    with pytest.raises(StopIteration):
        next(frames)


def test_a_camera_that_is_unplugged(output, camera):
    tally, complaints = record(output, lambda image: camera() or np.ones((48, 64), np.uint8))
    assert (tally.failed, tally.frames) == (1, 0) and len(complaints) == 1
    assert complaints[0].startswith("camera:0 gives no more frames, is it unplugged? Those until then are in ")
    assert len(frames_in(output.folder / "color" / "camera-0.mp4")) == Capture.frames


def test_a_camera_that_gives_nothing(output, monkeypatch):
    monkeypatch.setattr(Capture, "frames", 0)
    _, complaints = record(output, lambda image: np.ones((48, 64), np.uint8))
    assert complaints == ["camera:0 gave no frame; nothing is written"]
    assert not output.folder.exists()


def test_an_error_of_the_thread_is_raised_where_frames_are_asked_for(output, monkeypatch):
    monkeypatch.setattr(Capture, "error", cv2.error("driver"))
    with pytest.raises(cv2.error, match="driver"):
        record(output, lambda image: np.ones((48, 64), np.uint8))


@pytest.mark.parametrize("error", [UserError("out of memory; smaller images"), RuntimeError("a defect")])
def test_an_error_in_the_midst_leaves_the_recording(output, camera, capsys, error):
    def predict(image):
        camera()
        if image[0, 0, 0] == 70:
            raise error
        return np.ones((48, 64), np.uint8)

    with mock.patch("segdla.media.run._MEASURED", 2):
        if isinstance(error, UserError):
            assert record(output, predict)[1] == [str(error)]
        else:
            with pytest.raises(RuntimeError, match="a defect"):
                record(output, predict)
    assert f"camera:0: 6 frames in {output.folder}/color/camera-0.mp4, " in capsys.readouterr().out
    assert len(frames_in(output.folder / "color" / "camera-0.mp4")) == 6
    assert len([*(output.folder / "ids" / "camera-0.frames").iterdir()]) == 6


def test_an_error_of_the_camera_leaves_the_recording(output, camera, monkeypatch):
    def predict(image):
        if image[0, 0, 0] == 40:
            monkeypatch.setattr(Capture, "error", cv2.error("driver"))
        camera()
        return np.ones((48, 64), np.uint8)

    with mock.patch("segdla.media.run._MEASURED", 2), pytest.raises(cv2.error, match="driver"):
        record(output, predict)
    assert len(frames_in(output.folder / "color" / "camera-0.mp4")) == 4


def test_frames_that_change_their_size_leave_the_recording(output, camera, monkeypatch):
    def predict(image):
        camera()
        return np.ones(image.shape[:2], np.uint8)

    real_read = Capture.read
    monkeypatch.setattr(Capture, "read", lambda self: _smaller_from_6(*real_read(self)))
    with mock.patch("segdla.media.run._MEASURED", 2):
        _, complaints = record(output, predict)
    assert "a frame of (24, 64) among those of (48, 64)" in complaints[0]
    assert len(frames_in(output.folder / "color" / "camera-0.mp4")) == 5


def _smaller_from_6(has_frame, frame):
    return has_frame, frame[:24] if has_frame and frame[0, 0, 2] >= 60 and frame.shape == (48, 64, 3) else frame


def test_a_camera_is_released_by_the_thread_that_reads_it(monkeypatch, camera):
    released = queue.SimpleQueue()
    monkeypatch.setattr("segdla.media.camera._PATIENCE", 0)
    monkeypatch.setattr(Capture, "release", lambda self: released.put(threading.current_thread()))
    frames = Camera(0).frames()
    next(frames)
    frames.close()
    assert released.empty()  # its driver still waits for a frame
    camera()
    assert released.get(timeout=60) is not threading.current_thread()


def test_no_camera():
    with pytest.raises(UserError, match="there is no camera 3 here, or another program has it; the first one is"):
        next(Camera(3).frames())


def test_a_recording_is_not_written_over_another(output):
    (output.folder / "color").mkdir(parents=True)
    (output.folder / "color" / "camera-0.mp4").write_bytes(b"yesterday")
    _, complaints = record(output, lambda image: np.ones((48, 64), np.uint8))
    assert "camera-0.mp4 is there, and a recording is not written over another; choose" in complaints[0]
    assert (output.folder / "color" / "camera-0.mp4").read_bytes() == b"yesterday"


def test_the_words_of_a_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_inputs(["camera:0"]) == [FRONT] and FRONT.is_video and FRONT.camera == 0
    cv2.imwrite("a.png", photo(8, 8))
    with pytest.raises(UserError, match="camera:0 is recorded until Ctrl-C; name it without other inputs"):
        find_inputs(["a.png", "camera:0"])
    for word in ("camera:", "camera:front", "camera:-1", "camera:²"):
        with pytest.raises(UserError, match="is no camera; cameras have numbers, as camera:0"):
            find_inputs([word])


def test_a_manifest_is_of_files(fails, checkpoint):
    output = fails("predict", "camera:0", "--manifest", "m.jsonl", "--output", "o", "--checkpoint", checkpoint)
    assert "camera:0 has no end, and a job is of files; record it first (segdla predict camera:0)" in output


@pytest.mark.parametrize(
    ("times", "rate"),
    [
        ([0.0, 1.0, 1.1, 1.2], 10),  # the first frame waited for the network to get going
        ([0.0, 0.5], 2),
        ([0.0], 25),
        ([3.0, 3.0, 3.0], 25),  # a clock that stands still
    ],
)
def test_a_rate_is_told_by_the_first_frames(times, rate):
    assert _rate(times) == pytest.approx(rate)
