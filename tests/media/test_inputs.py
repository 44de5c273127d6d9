"""Inputs, as words of the command line name them."""

import pytest
from support import photo, write

from segdla.errors import UserError
from segdla.media.inputs import find_inputs
from segdla.media.outputs import Output, is_output


@pytest.fixture
def album(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one.png", "album/b.jpg", "album/a.x.png", "album/Straße 1/c.png", "album/.hidden.png"):
        write(tmp_path / name, photo(8, 8))
    (tmp_path / "album" / "Straße 1" / "film.MP4").touch()
    (tmp_path / "album" / "notes.txt").touch()
    return tmp_path


def names(*args, **options):
    return [entry.name for entry in find_inputs(*args, **options)]


def test_a_file_is_called_by_its_name_and_those_of_a_folder_by_their_path(album):
    assert names(["album", "one.png"]) == ["a.x", "b", "Straße 1/c", "Straße 1/film", "one"]


def test_what_a_glob_finds_is_named_from_where_the_wildcards_begin(album):
    assert names(["album/*.jpg"]) == ["b"]
    assert names([str(album / "album/**/c.*")]) == ["Straße 1/c"]


def test_listed_paths_keep_their_folders_and_order_and_stay_inside(album):
    lines = [b"one.png\n", "album/Straße 1/c.png\r\n".encode(), b"\n", b"../up.png\n", b"/data/x.y.png", b"\xff.png"]
    assert names(["-"], lines) == ["one", "album/Straße 1/c", "up", "data/x.y", "\udcff"]
    assert names(["-"], [b"a.png\0b.png\0"]) == ["a", "b"]


def test_the_same_file_twice_is_one(album):
    assert names(["album/b.jpg", "album"]) == ["b", "a.x", "Straße 1/c", "Straße 1/film"]


def test_an_image_and_a_video_may_share_a_name(album):
    (album / "one.mp4").touch()
    assert [entry.is_video for entry in find_inputs(["one.png", "one.mp4"])] == [False, True]


def test_outputs_are_not_taken_for_inputs(album):
    before = names(["album"])
    for output in ("out/color/b.png", "color/b.png", "out/legend.png", "legend.png"):
        write(album / "album" / output, photo(8, 8))
    assert {"out/color/b", "color/b", "out/legend", "legend"} < set(names(["album"]))
    for folder in (album / "album" / "out", album / "album"):  # the second into the folder of the inputs themselves
        Output(folder, ("color",), (), ()).begin(new=False)
    assert find_inputs(["album"], (), is_output) == find_inputs(["album/"], (), is_output)
    assert [entry.name for entry in find_inputs(["album"], (), is_output)] == before
    assert "color/b" not in [entry.name for entry in find_inputs(["album/**/*.png"], (), is_output)]
    assert [entry.name for entry in find_inputs(["album/out/color"], (), is_output)] == ["b"]  # asked for


def test_what_lies_beside_outputs_is_still_an_input(album):
    Output(album / "album", ("color",), (), ()).begin(new=False)
    assert [entry.name for entry in find_inputs(["."], (), is_output)] == names(["."])


def test_a_glob_of_folders_is_what_is_in_them(album):
    assert names(["alb*"]) == [f"album/{name}" for name in names(["album"])]
    (album / "empty").mkdir()
    with pytest.raises(UserError, match=r"no image, video, folder or match for emp\*"):
        find_inputs(["emp*"])


def test_the_same_file_by_two_paths_is_one(album):
    assert len(find_inputs(["album/b.jpg", "./album/b.jpg"])) == 1


def test_two_files_of_one_name(album):
    write(album / "b.png", photo(8, 8))
    with pytest.raises(UserError, match=r"album/b\.jpg and b\.png would both become b\.png"):
        find_inputs(["album/b.jpg", "b.png"])


def test_files_that_differ_by_suffix_alone_can_be_told_apart(tmp_path):
    for name in ("b.jpg", "b.png"):
        (tmp_path / name).touch()
    with pytest.raises(UserError) as answer:
        find_inputs([str(tmp_path)])
    glob = f"{tmp_path}/*.png"
    assert f"name one kind at a time, as by '{glob}'" in str(answer.value)
    assert [entry.path for entry in find_inputs([glob])] == [str(tmp_path / "b.png")]


def test_words_that_name_nothing(album):
    (album / "empty").mkdir()
    for word, lines, message in (
        ("none", (), "no image, video, folder or match for none"),
        ("*.bmp", (), r"match for \*\.bmp"),
        ("empty", (), "no images or videos in empty"),
        ("-", (b"\n",), "no paths on stdin"),
        ("", (), "an input is empty"),
        ("a.jpg " * 100, (), "no image, video, folder or match"),  # longer than a name can be
        ("-", (b".\n",), r"\. is a folder; list files"),
    ):
        with pytest.raises(UserError, match=message):
            find_inputs([word], lines)
