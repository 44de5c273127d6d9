"""Outputs of predictions, whole or not there at all."""

import os
import signal

import numpy as np
import pytest
from PIL import Image
from support import photo, write

from segdla.data.images import read_image, read_mask
from segdla.errors import UserError
from segdla.machine.signals import Terminated
from segdla.media.inputs import Input
from segdla.media.kinds import KINDS
from segdla.media.outputs import Output, latest
from segdla.media.video import VideoReader
from segdla.media.video_outputs import VideoOutput
from segdla.visualize import colorize, legend, overlay

NAMES = ("sky", "road", "car")
PALETTE = ((10, 20, 30), (200, 0, 0), (0, 0, 250))
IMAGE = photo(60, 91)
IDS = np.indices((60, 91)).sum(0).astype(np.uint8) % 3
OF_VIDEOS_TOO = tuple(kind for kind in KINDS if kind != "masks")
STILL, FILM = Input("x/a.jpg", "sub/a b"), Input("x/ü.avi", "ü")


@pytest.fixture
def output(tmp_path):
    return Output(tmp_path, OF_VIDEOS_TOO, NAMES, PALETTE)


def test_each_kind_is_what_it_says(output, tmp_path):
    assert not output.is_there(STILL)
    output.write(STILL, IMAGE, IDS)
    assert output.is_there(STILL)
    where = {kind: tmp_path / kind / "sub" / "a b.png" for kind in KINDS}
    np.testing.assert_array_equal(read_mask(where["ids"]), IDS)
    np.testing.assert_array_equal(read_mask(where["color"]), IDS)  # a palette's indices
    np.testing.assert_array_equal(read_image(where["color"]), colorize(IDS, PALETTE))
    with Image.open(where["color"]) as picture:
        assert picture.mode == "P"
    blend = overlay(IMAGE, colorize(IDS, PALETTE))
    np.testing.assert_array_equal(read_image(where["overlay"]), blend)  # too small for a legend
    beside = read_image(where["side-by-side"])
    np.testing.assert_array_equal(beside[:60, : 2 * 91], np.hstack([IMAGE, blend]))
    assert beside.shape[1] == 2 * 91 + legend(NAMES, PALETTE).shape[1]


def test_going_on_is_where_outputs_last_went(tmp_path):
    usual = tmp_path / "predictions"
    usual.mkdir()  # somebody else's
    assert latest(usual) is None
    usual.rmdir()
    for number, folder in enumerate((usual, tmp_path / "predictions-3", tmp_path / "predictions-2")):
        Output(folder, ("color",), NAMES, PALETTE).begin(new=True)
        os.utime(folder / ".segdla-output", (number, number))
    (tmp_path / "predictions-4").mkdir()  # somebody else's
    assert latest(usual) == tmp_path / "predictions-2"


def test_a_legend_takes_no_other_files_place(output, tmp_path):
    output.begin(new=False)
    output.write_legend()
    output.require_no_overwriting([STILL])  # its own
    (tmp_path / ".segdla-output").unlink()
    with pytest.raises(UserError, match=r"legend\.png would be overwritten by the legend"):
        output.require_no_overwriting([STILL])


def test_the_background_is_coloured_but_not_in_overlays(tmp_path):
    names = ("background", *NAMES[1:])
    output = Output(tmp_path, OF_VIDEOS_TOO, names, PALETTE)
    overlay, pair = (output.picture(kind, IMAGE, np.zeros_like(IDS)) for kind in ("overlay", "side-by-side"))
    np.testing.assert_array_equal(overlay, IMAGE)
    np.testing.assert_array_equal(pair[:60, 91 : 2 * 91], IMAGE)
    assert (output.picture("color", IMAGE, np.zeros_like(IDS)) == PALETTE[0]).all()
    assert not (pair[:, 2 * 91 :] == PALETTE[0]).all(-1).any()


def test_without_a_legend(tmp_path):
    plain = Output(tmp_path, OF_VIDEOS_TOO, NAMES, PALETTE, legend=False)
    assert plain.picture("side-by-side", IMAGE, IDS).shape == (60, 2 * 91, 3)


def test_one_kind_that_is_missing_is_not_all(output, tmp_path):
    output.write(STILL, IMAGE, IDS)
    (tmp_path / "color" / "sub" / "a b.png").rename(tmp_path / "color" / "sub" / "a b.png.partial")
    assert not output.is_there(STILL)


def films(tmp_path):
    return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}


def test_ctrl_c_leaves_a_video_that_plays_under_another_name(output, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt), VideoOutput(output, FILM, 25) as writing:
        for _ in range(3):
            writing.write(IMAGE, IDS)
        raise KeyboardInterrupt
    assert films(tmp_path) == {f"{kind}/ü.stopped.mp4" for kind in ("color", "overlay", "side-by-side")}
    assert f"stopped: what was done is in {tmp_path}/color/ü.stopped.mp4" in capsys.readouterr().out
    assert VideoReader(tmp_path / "color" / "ü.stopped.mp4").num_frames == 3
    assert not output.is_there(FILM)  # and --skip-existing does it


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(signal.SIGTERM), UserError("no")])
def test_nothing_is_left_of_no_frame_or_after_other_errors(output, tmp_path, error):
    with pytest.raises(type(error)), VideoOutput(output, FILM, 25) as writing:
        for _ in range(0 if type(error) is KeyboardInterrupt else 3):
            writing.write(IMAGE, IDS)
        raise error
    assert not films(tmp_path)


def test_a_video_is_there_when_all_of_it_is(output, tmp_path):
    write(tmp_path / "ids" / "ü.frames.partial" / "0000009.png", IDS)  # of a process that was killed
    with VideoOutput(output, FILM, 25) as writing:
        for _ in range(3):
            writing.write(IMAGE[:, :90], IDS[:, :90])
        assert not any(path.exists() for path in output.paths(FILM).values())
    assert output.is_there(FILM)
    assert [p.name for p in sorted((tmp_path / "ids" / "ü.frames").iterdir())] == [f"000000{i}.png" for i in range(3)]
    assert not list(tmp_path.rglob("*partial*"))


@pytest.mark.parametrize("name", ["notes.txt", "sub/in.png"])
def test_a_video_takes_the_place_of_nothing_but_its_own_frames(output, tmp_path, name):
    frames = output.paths(FILM)["ids"]
    write(frames / "0000007.png", IDS)
    (frames / ".DS_Store").touch()
    with VideoOutput(output, FILM, 25) as writing:
        writing.write(IMAGE, IDS)
    assert [path.name for path in frames.iterdir()] == ["0000000.png"]
    (frames / name).parent.mkdir(exist_ok=True)
    (frames / name).touch()
    with pytest.raises(UserError, match=f"{name.split('/')[0]} would be deleted"):
        VideoOutput(output, FILM, 25)
    with pytest.raises(UserError, match="would be written over"):
        output.require_no_overwriting([FILM, Input(str(frames / name), "in")])


def test_a_long_name_of_a_video(output, tmp_path):
    long = Input(f"{'v' * 247}.mp4", "v" * 247)
    with VideoOutput(Output(tmp_path, ("overlay",), NAMES, PALETTE), long, 25) as writing:
        writing.write(IMAGE, IDS)
    assert [path.name for path in (tmp_path / "overlay").iterdir()] == [long.path]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; choose another --output"):
        Output(tmp_path / "file", ("color",), NAMES, PALETTE).begin(new=False)


def test_a_video_that_fails_leaves_nothing(output, tmp_path):
    with (
        pytest.raises(UserError, match=r"a frame of \(30, 91\) among those of \(60, 91\)"),
        VideoOutput(output, FILM, 25) as w,
    ):
        w.write(IMAGE, IDS)
        w.write(IMAGE[:30], IDS[:30])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_that_can_not_be_written(output, tmp_path):
    (tmp_path / "overlay").touch()
    with pytest.raises(UserError, match="cannot write"), VideoOutput(output, FILM, 25) as writing:
        writing.write(IMAGE, IDS)


def test_masks_are_one_picture_a_class(tmp_path):
    exclusive = Output(tmp_path, ("masks",), ("sky", "a/b", "car"), PALETTE)
    exclusive.write(STILL, IMAGE, IDS)
    folder = exclusive.paths(STILL)["masks"]
    assert sorted(path.name for path in folder.iterdir()) == ["0_sky.png", "1_a_b.png", "2_car.png"]
    np.testing.assert_array_equal(read_mask(folder / "2_car.png"), 255 * (IDS == 2))
    with pytest.raises(UserError, match=r"ü.avi is a video, and masks are of images: save its frames as images"):
        VideoOutput(exclusive, FILM, 25)
    again = Output(tmp_path, ("masks", "color"), NAMES[:2], PALETTE[:2], overlapping=True)
    sets = np.indices((60, 91)).sum(0).astype(np.uint8) % 4
    again.write(STILL, IMAGE, sets)  # in place of the others
    assert sorted(path.name for path in folder.iterdir()) == ["0_sky.png", "1_road.png"]
    np.testing.assert_array_equal(read_mask(folder / "0_sky.png"), 255 * (sets % 2))
    np.testing.assert_array_equal(read_mask(folder / "1_road.png"), 255 * (sets // 2))
    colors = np.array([(0, 0, 0), *PALETTE[:2], PALETTE[1]], np.uint8)  # the last class is on top
    np.testing.assert_array_equal(read_image(again.paths(STILL)["color"]), colors[sets])
