"""Videos out, by each encoder that is installed."""

import importlib.util
import os

import cv2
import numpy as np
import pytest
from support import photo

from segdla.errors import UserError
from segdla.media import video_writer
from segdla.media.video import VideoReader
from segdla.media.video_writer import VideoWriter

ENCODERS = ("h264", "mp4v")


def use(monkeypatch, name):
    if name == "h264":
        pytest.importorskip("av", reason="PyAV is the extra segdla[video]")
    monkeypatch.setattr(video_writer, "codec", lambda: name)


@pytest.fixture(params=ENCODERS)
def encoder(request, monkeypatch):
    use(monkeypatch, request.param)
    return request.param


@pytest.fixture
def h264(monkeypatch):
    use(monkeypatch, "h264")


def written(path, rate, frames, times=None):
    writer = VideoWriter(path, rate)
    for index, frame in enumerate(frames):
        writer.write(frame, times and times[index])
    assert not path.exists()
    writer.close(keep=True)
    return read_back(path)


def read_back(path):
    reader, frames = VideoReader(path), []
    while (frame := reader.read()) is not None:
        frames.append(frame)
    reader.close()
    return reader, frames


def fourcc(path):
    return int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little")


def test_what_is_written_is_read_back(tmp_path, encoder):
    frames = [np.full((48, 64, 3), (60 + 20 * i, 30, 200), np.uint8) for i in range(5)]
    path = tmp_path / "new" / "Straße 1.mp4"
    reader, back = written(path, 29.97, frames)
    assert reader.rate == pytest.approx(29.97, rel=1e-5) and reader.num_frames == len(back) == 5
    assert [frame.seconds for frame in back] == pytest.approx([index / 29.97 for index in range(5)], rel=1e-5)
    assert fourcc(path) == {"h264": b"h264", "mp4v": b"FMP4"}[encoder]
    for frame, one in zip(frames, back, strict=True):  # red is red, up to the codec's loss
        np.testing.assert_allclose(one.image.mean((0, 1)), frame.mean((0, 1)), atol=8)


@pytest.mark.parametrize("size", [(47, 63), (48, 63), (47, 64), (2, 2), (3, 5)])
def test_an_odd_side_loses_its_last_pixel(tmp_path, encoder, size):
    _, back = written(tmp_path / "a.mp4", 25, [photo(*size, index) for index in range(3)])
    assert [frame.image.shape for frame in back] == [(size[0] // 2 * 2, size[1] // 2 * 2, 3)] * 3


def test_what_plays_everywhere(tmp_path, h264):
    """Browsers play 4:2:0 alone, start sooner if the index comes first, and would guess the colours' matrix."""
    import av

    written(tmp_path / "a.mp4", 25, [photo(48, 64)] * 3)
    with av.open(str(tmp_path / "a.mp4")) as file:
        context = file.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace) == ("h264", "yuv420p", 6)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("times", [[0, 0.04, 0.08, 1.0, 2.0], [0, 60.0, 60.5], [0, 0, 0.1], [0, 1, 0.5, 2]])
def test_frames_keep_their_times(tmp_path, h264, times):
    import av

    written(tmp_path / "a.mp4", 25, [photo(48, 64, index) for index in range(len(times))], times)
    with av.open(str(tmp_path / "a.mp4")) as file:
        back = [float(frame.time) for frame in file.decode(video=0)]
    expected = np.maximum.accumulate(times)  # a clock that goes back stands still, but for a tick
    assert back == pytest.approx(list(expected), abs=5e-4)


@pytest.mark.parametrize("rate", [1 / 60, 2000, 65535])
def test_what_has_odd_rates_lasts_as_long(tmp_path, encoder, rate):
    reader, _ = written(tmp_path / "a.mp4", rate, [photo(48, 64, index) for index in range(3)])
    assert reader.rate == pytest.approx(rate, rel=0.03)  # OpenCV writes rates to thousandths


@pytest.mark.parametrize("rate", [66.123, 239.761, 999.9])
def test_rates_of_slow_motion(tmp_path, encoder, rate):
    reader, _ = written(tmp_path / "a.mp4", rate, [photo(48, 64, index) for index in range(3)])
    assert reader.rate == pytest.approx(rate, rel=1e-3)


def test_frames_that_did_not_get_to_the_disk(tmp_path, encoder):
    writer = VideoWriter(tmp_path / "a.mp4", 25)
    writer.write(photo(48, 64))
    close = writer._encoder.close

    def close_on_a_full_disk():  # as OpenCV leaves it
        close()
        writer._partial.write_bytes(writer._partial.read_bytes()[:100])

    writer._encoder.close = close_on_a_full_disk
    with pytest.raises(UserError, match=r"cannot write .*a\.mp4: frames are missing, as on a full disk; choose"):
        writer.close(keep=True)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full(tmp_path, h264, monkeypatch):
    """FFmpeg says so, at the latest when it writes the rest."""
    writer = VideoWriter(tmp_path / "a.mp4", 25)
    writer._partial = writer._partial.with_name("full")
    writer._partial.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot write .*a\.mp4: No space left on device; choose another place"):
        for index in range(100):
            writer.write(photo(480, 640, index))
    writer.close(keep=False)
    assert not list(tmp_path.iterdir())


def test_a_frame_of_another_size(tmp_path, encoder):
    writer = VideoWriter(tmp_path / "a.mp4", 25)
    writer.write(photo(48, 64))
    with pytest.raises(UserError, match=r"a frame of \(32, 64\) among those of \(48, 64\); split the video"):
        writer.write(photo(32, 64))
    writer.close(keep=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["there/a.mp4", "a/b.mp4"])
def test_what_can_not_be_opened(tmp_path, encoder, path):
    (tmp_path / "there" / "a.mp4.partial.mp4").mkdir(parents=True)
    (tmp_path / "a").touch()
    writer = VideoWriter(tmp_path / path, 25)
    with pytest.raises(UserError, match=r"cannot write .*\.mp4: .*; choose another place"):
        writer.write(photo(48, 64))
        writer.close(keep=True)


def test_names_that_are_no_text(tmp_path, encoder):
    writer = VideoWriter(tmp_path / os.fsdecode(b"caf\xe9.mp4"), 25)
    with pytest.raises(UserError, match="no UTF-8; rename it"):
        writer.write(photo(48, 64))


class FakeWriter:
    """Opens for one codec alone."""

    works = ""

    def __init__(self, path, api, code, rate, size):
        self.code = code

    @staticmethod
    def fourcc(*letters):
        return "".join(letters)

    def isOpened(self):  # noqa: N802 (OpenCV's name)
        return self.code == self.works

    def write(self, frame):
        pass

    def release(self):
        pass


@pytest.fixture
def without_pyav(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(video_writer, "find_spec", lambda name: None if name == "av" else find(name))
    monkeypatch.setattr(cv2, "VideoWriter", FakeWriter)


@pytest.mark.parametrize("works", ["avc1", "mp4v"])
def test_h264_where_opencv_has_it_else_mpeg4_and_a_line(monkeypatch, without_pyav, works, capsys):
    monkeypatch.setattr(FakeWriter, "works", works)
    assert video_writer.codec.__wrapped__() == works
    said = capsys.readouterr().out
    assert said.startswith("videos are written as MPEG-4, which browsers don't play; ") == (works == "mp4v")


def test_an_opencv_that_writes_no_video(without_pyav):
    with pytest.raises(UserError, match="can't write videos; pip install 'segdla"):
        video_writer.codec.__wrapped__()


class FileOfNoEncoder:
    """PyAV's, where FFmpeg was built without an encoder of H.264."""

    def add_stream(self, name, **_):
        raise ValueError(name)  # UnknownCodecError is one

    def close(self):
        pass


def test_a_pyav_without_an_encoder_of_h264(monkeypatch):
    av = pytest.importorskip("av", reason="PyAV is the extra segdla[video]")
    assert issubclass(av.codec.codec.UnknownCodecError, ValueError)
    monkeypatch.setattr(av, "open", lambda *_, **__: FileOfNoEncoder())
    assert video_writer.codec.__wrapped__() in ("avc1", "mp4v")


def test_looking_for_an_encoder_is_silent(capfd):
    assert video_writer.codec.__wrapped__() in ("h264", "avc1", "mp4v")
    assert capfd.readouterr().err == ""
