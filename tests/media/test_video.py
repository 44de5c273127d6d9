"""Videos in."""

import os
import struct

import cv2
import pytest
from support import photo

from segdla.errors import UserError
from segdla.media import video
from segdla.media.inputs import Input
from segdla.media.outputs import Output
from segdla.media.run import predict_files
from segdla.media.video import VideoReader
from segdla.media.video_writer import VideoWriter


def element(number, *parts):
    """An element of EBML, the format of Matroska and WebM."""
    content = b"".join(parts)
    return bytes.fromhex(number) + b"\x01" + len(content).to_bytes(7, "big") + content


def matroska(path, times, rate=None, lasts=None):
    """A video whose frames have these times in milliseconds, as a browser or a screen recorder would write it."""
    track = [element("D7", b"\x01"), element("73C5", b"\x01"), element("83", b"\x01"), element("86", b"V_MJPEG")]
    track += [element("23E383", round(1e9 / rate).to_bytes(8, "big"))] if rate else []
    track += [element("E0", element("B0", b"\x40"), element("BA", b"\x30"))]
    info = element("2AD7B1", (10**6).to_bytes(4, "big")), element("4489", struct.pack(">d", lasts)) if lasts else b""
    clusters = [
        element("1F43B675", element("E7", time.to_bytes(4, "big")), element("A3", b"\x81\0\0\x80", jpeg))
        for time, jpeg in ((time, cv2.imencode(".jpg", photo(48, 64, time))[1].tobytes()) for time in times)
    ]
    segment = element("1549A966", *info), element("1654AE6B", element("AE", *track)), *clusters
    path.write_bytes(element("1A45DFA3", element("4282", b"matroska")) + element("18538067", *segment))
    return path


def frames_of(path):
    reader, frames = VideoReader(path), []
    while (frame := reader.read()) is not None:
        frames.append(frame)
    reader.close()
    return frames


EVEN = [40 * index for index in range(10)]
UNEVEN = [*range(0, 320, 40), 1000, 2000]  # 8 frames at 25 a second, and then pauses


@pytest.mark.parametrize(
    ("times", "states", "rate"),
    [
        (EVEN, 25, 25),
        (EVEN, 1000, 25),  # a browser's
        (EVEN, None, 25),
        (UNEVEN, 25, 4.5),  # 9 gaps in 2 s
        (UNEVEN, None, 4.5),
        ([time + 5000 for time in EVEN], 1000, 25),  # cut from a longer one
        ([time + 5000 for time in UNEVEN], 25, 4.5),
        ([0, 33, 67, 100, 133, 167], 30, 30),  # rounded to milliseconds: the stated rate is the exact one
        ([0, 60_000, 120_000], 30, 1 / 60),  # time lapse
        ([0], 30, 30),
        ([0], 1000, 25),
        ([0] * 10, 30, 30),  # no times
        ([0] * 10, 1000, 25),
        ([0, 40, 80, 0, 40, 80], 25, 25),  # two recordings put together: the clock starts anew
        ([0, 40, 90_000_000], 25, 25),
        ([0, 1, 2, 3, 4], 1000, 1000),  # it is that fast
    ],
)
def test_a_rate_is_by_the_times_where_the_stated_one_does_not_fit_them(tmp_path, times, states, rate):
    reader = VideoReader(matroska(tmp_path / "a.mkv", times, states))
    assert reader.rate == pytest.approx(rate, rel=1e-6) and reader.num_frames == len(times)


@pytest.mark.parametrize("start", [0, 5000])
@pytest.mark.parametrize("times", [UNEVEN, [0, 40, 80, 300, 340, 380]])  # the last: 5 gaps in 380 ms
@pytest.mark.parametrize("states", [25, 5000 / 380])  # the true mean rate too is no even one
def test_frames_have_their_own_times_at_a_varying_rate(tmp_path, times, states, start):
    frames = frames_of(matroska(tmp_path / "a.mkv", [start + time for time in times], states))
    assert [frame.seconds for frame in frames] == pytest.approx([time / 1000 for time in times])


def test_times_that_were_rounded_are_even(tmp_path):
    frames = frames_of(matroska(tmp_path / "a.mkv", [0, 33, 67, 100, 133, 167], 30))
    assert [frame.seconds for frame in frames] == pytest.approx([index / 30 for index in range(6)], abs=1e-9)


@pytest.mark.parametrize("start", [0, 5000])
def test_a_varying_rate_is_no_missing_end(tmp_path, start):
    """In a header that states only how long a video lasts, OpenCV takes this times the rate for a number of frames."""
    times = [start + time for time in UNEVEN]
    reader = VideoReader(matroska(tmp_path / "a.mkv", times, 25, lasts=times[-1] + 40))
    assert reader._capture.get(cv2.CAP_PROP_FRAME_COUNT) > 2 * len(times) and reader.num_frames == len(times)


@pytest.mark.parametrize("start", [0, 5000])
def test_a_missing_end_is_told_by_the_stated_length(tmp_path, start):
    times = [start + time for time in EVEN[:5]]
    assert VideoReader(matroska(tmp_path / "a.mkv", times, 25, lasts=start + 400)).num_frames == 10


def test_hidden_packets_do_not_count_as_frames(tmp_path, monkeypatch):
    """VP8 stores pictures that are only referred to; here the packets are twice as many as the frames."""
    path, times = tmp_path / "a.mkv", video._times
    more = matroska(tmp_path / "b.mkv", [20 * index for index in range(20)])
    monkeypatch.setattr(video, "_times", lambda path, decode: times(path if decode else more, decode=decode))
    assert VideoReader(matroska(path, EVEN, 24)).rate == pytest.approx(25)


@pytest.mark.parametrize("value", [float("nan"), -7.7e15, float("inf"), -1.0])
def test_times_that_are_no_numbers(tmp_path, monkeypatch, value):
    path = matroska(tmp_path / "a.mkv", EVEN, 30)
    capture = cv2.VideoCapture

    class NoTimes:
        def __init__(self, *words):
            self.capture = capture(*words)

        def __getattr__(self, name):
            return getattr(self.capture, name)

        def get(self, what):
            return value if what == cv2.CAP_PROP_POS_MSEC else self.capture.get(what)

    monkeypatch.setattr(cv2, "VideoCapture", NoTimes)
    assert VideoReader(path).rate == 30


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


def test_opencv_4_is_silenced_by_its_own_name_for_it(monkeypatch):
    levels = []
    monkeypatch.setattr(cv2, "setLogLevel", levels.append, raising=False)
    monkeypatch.delattr(cv2.utils, "logging", raising=False)
    video.quiet()
    assert levels == [0]


def predicted(path, folder, complain=None):
    output = Output(folder, ("color", "ids"), ("a", "b"), ((0, 0, 0), (250, 0, 0)))
    return predict_files([Input(str(path), "a")], lambda image: image[..., 0] // 200, output, complain, lambda *_: None)


def test_frames_sizes_and_times_go_from_file_to_file(tmp_path):
    pytest.importorskip("av", reason="PyAV is the extra segdla[video]")
    path = matroska(tmp_path / "a.mkv", UNEVEN, 25)
    assert predicted(path, tmp_path / "out").frames == len(UNEVEN)
    there = frames_of(tmp_path / "out" / "color" / "a.mp4")
    assert [frame.seconds for frame in there] == pytest.approx([time / 1000 for time in UNEVEN], abs=1e-3)
    assert {frame.image.shape for frame in there} == {(48, 64, 3)}
    assert len([*(tmp_path / "out" / "ids" / "a.frames").iterdir()]) == len(UNEVEN)


def test_a_file_that_is_damaged_in_the_middle_gives_what_comes_before(tmp_path):
    writer, complaints = VideoWriter(tmp_path / "a.mp4", 25), []
    for index in range(30):
        writer.write(photo(48, 64, index))
    writer.close(keep=True)
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    content[len(content) // 2 : len(content) * 6 // 10] = bytes(len(content) // 10)
    (tmp_path / "a.mp4").write_bytes(content)
    predicted(tmp_path / "a.mp4", tmp_path / "out", complaints.append)
    assert len(complaints) == 1 and "of 30 frames, and so does what was made of it" in str(complaints[0])
    assert 0 < len(frames_of(tmp_path / "out" / "color" / "a.mp4")) < 27
