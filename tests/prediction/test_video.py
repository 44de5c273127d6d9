"""Videos in and out."""

import os

import cv2
import numpy as np
import pytest
from conftest import photo

from segdla.errors import UserError
from segdla.prediction import video
from segdla.prediction.video import VideoReader, VideoWriter


def frames_of(path):
    reader, frames = VideoReader(path), []
    while (frame := reader.read()) is not None:
        frames.append(frame)
    reader.close()
    return reader.rate, frames


def test_what_is_written_is_read_back(tmp_path):
    frames = [np.full((48, 64, 3), (60 + 20 * i, 30, 200), np.uint8) for i in range(5)]
    writer = VideoWriter(tmp_path / "new" / "Straße 1.mp4", 29.97)
    for frame in frames:
        writer.write(frame)
    assert not writer.path.exists()
    writer.close(keep=True)
    rate, back = frames_of(writer.path)
    assert rate == pytest.approx(29.97) and len(back) == 5
    for frame, one in zip(frames, back, strict=True):  # red is red, up to the codec's loss
        np.testing.assert_allclose(one.mean((0, 1)), frame.mean((0, 1)), atol=8)


def test_frames_that_did_not_get_to_the_disk(tmp_path, monkeypatch):
    writer = VideoWriter(tmp_path / "a.mp4", 25)
    writer.write(photo(48, 64))
    writer._writer.release()
    writer._partial.write_bytes(writer._partial.read_bytes()[:100])  # as OpenCV leaves it when the disk is full
    with pytest.raises(UserError, match=r"cannot write .*a\.mp4"):
        writer.close(keep=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"no video" * 1000])
def test_files_that_are_no_video(tmp_path, content, capfd):
    (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(UserError, match="not a video that can be decoded"):
        VideoReader(tmp_path / "bad.mp4")
    with pytest.raises(UserError, match="No such file"):
        VideoReader(tmp_path / "none.mp4")
    assert capfd.readouterr().err == ""  # FFmpeg has its own opinion


def test_names_that_are_no_text(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")  # OpenCV would die of it, and the process too
    path.touch()
    with pytest.raises(UserError, match="no UTF-8; rename it"):
        VideoReader(path)
    writer = VideoWriter(path, 25)
    with pytest.raises(UserError, match="no UTF-8; rename it"):
        writer.write(photo(48, 64))


@pytest.mark.parametrize("rate", [66.123, 239.761, 999.9])
def test_rates_of_slow_motion(tmp_path, rate):
    writer = VideoWriter(tmp_path / "a.mp4", rate)
    writer.write(photo(48, 64))
    writer.close(keep=True)
    assert frames_of(writer.path)[0] == pytest.approx(rate, rel=1e-3)


class FakeWriter:
    """Opens for one codec alone."""

    works = ""

    def __init__(self, path, api, code, rate, size):
        self.code = code

    def isOpened(self):  # noqa: N802 (OpenCV's name)
        return self.code == self.works

    def release(self):
        pass


@pytest.mark.parametrize("works", ["avc1", "mp4v"])
def test_h264_where_there_is_an_encoder_else_mpeg4(monkeypatch, works):
    monkeypatch.setattr(cv2, "VideoWriter", FakeWriter)
    monkeypatch.setattr(cv2, "VideoWriter_fourcc", lambda *letters: "".join(letters))
    monkeypatch.setattr(FakeWriter, "works", works)
    assert video.codec.__wrapped__() == works


def test_an_opencv_that_writes_no_video(monkeypatch):
    monkeypatch.setattr(cv2, "VideoWriter", FakeWriter)
    monkeypatch.setattr(cv2, "VideoWriter_fourcc", lambda *letters: "".join(letters))
    with pytest.raises(UserError, match="can't write videos"):
        video.codec.__wrapped__()


def test_opencv_4_is_silenced_by_its_own_name_for_it(monkeypatch):
    levels = []
    monkeypatch.setattr(cv2, "setLogLevel", levels.append, raising=False)
    monkeypatch.delattr(cv2.utils, "logging", raising=False)
    video._quiet()
    assert levels == [0]


def test_looking_for_an_encoder_is_silent(capfd):
    assert video.codec.__wrapped__() in ("avc1", "mp4v")
    assert capfd.readouterr().err == ""
