"""Paths of objects, used like those of files."""

import copy
import pickle
from pathlib import Path

import pytest

from segdla.machine.remote import local_tier
from segdla.machine.remote.object_store import write_object
from segdla.machine.remote.remote_path import RemotePath, as_path

ROOT = RemotePath("memory://set")


@pytest.fixture(autouse=True)
def _objects(monkeypatch):
    monkeypatch.setattr(local_tier, "_states", {})
    for name in ("a/1.png", "a/deep/2.png", "b ü/3.txt", "top.png"):
        write_object(f"memory://set/{name}", name.encode())


def test_a_path_is_its_url_however_it_came_about():
    path = ROOT / "b ü" / "3.txt"
    assert str(path) == "memory://set/b ü/3.txt" == f"{path}"
    for same in (pickle.loads(pickle.dumps(path)), copy.deepcopy(path), as_path(str(path)), path.resolve()):
        assert (type(same), str(same)) == (RemotePath, str(path))
    assert str(path.parent) == "memory://set/b ü" and path.name == "3.txt"
    assert str(path.with_suffix(".png")) == "memory://set/b ü/3.png"
    assert path.relative_to(ROOT).as_posix() == "b ü/3.txt"
    assert hash(path) == hash(as_path(str(path)))


def test_what_is_there_is_told_apart():
    assert [(p.exists(), p.is_file(), p.is_dir()) for p in (ROOT / "top.png", ROOT / "a", ROOT / "none")] == [
        (True, True, False),
        (True, False, True),
        (False, False, False),
    ]


def test_files_are_read_by_all_methods():
    path = ROOT / "b ü/3.txt"
    assert path.read_bytes() == b"b \xc3\xbc/3.txt"
    assert path.read_text(encoding="utf-8") == "b ü/3.txt"
    with path.open(encoding="utf-8") as file:
        assert file.read() == "b ü/3.txt"


def test_folders_are_listed():
    assert sorted(path.name for path in ROOT.iterdir()) == ["a", "b ü", "top.png"]
    assert [(str(folder), folders, files) for folder, folders, files in ROOT.walk()] == [
        ("memory://set", ["a", "b ü"], ["top.png"]),
        ("memory://set/a", ["deep"], ["1.png"]),
        ("memory://set/a/deep", [], ["2.png"]),
        ("memory://set/b ü", [], ["3.txt"]),
    ]
    assert list(map(str, ROOT.glob("*/*.png"))) == ["memory://set/a/1.png"]


def test_the_state_is_another_one_after_a_change(monkeypatch):
    before = (ROOT / "top.png").stat()
    write_object("memory://set/top.png", b"other")
    assert (ROOT / "top.png").stat() == before  # as long as the run lasts
    monkeypatch.setattr(local_tier, "_states", {})
    after = (ROOT / "top.png").stat()
    assert (after.st_ino, after.st_mtime_ns) != (before.st_ino, before.st_mtime_ns)


def test_many_files_of_a_folder_are_asked_for_by_one_listing(monkeypatch):
    for i in range(30):
        write_object(f"memory://many/{i}", b"x")
    asked, ask = [], local_tier.object_state
    monkeypatch.setattr(local_tier, "object_state", lambda url: (asked.append(url), ask(url))[1])
    assert all(RemotePath(f"memory://many/{i}").is_file() for i in range(30))
    assert len(asked) < 10


def test_a_local_path_stays_one():
    assert type(as_path("photos/a.png")) is type(Path())


def test_a_file_s_url_keeps_its_slashes(tmp_path):
    path = as_path(f"file://{tmp_path}") / "a.txt"
    path.write_text("a", encoding="utf-8")
    assert str(path) == f"file://{tmp_path}/a.txt"
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "a"
