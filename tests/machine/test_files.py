import errno
import json
import math
import os
import stat
import threading
from pathlib import Path

import pytest
import torch
from distributed_work import own, save_with_little_room
from processes import run_together, start

from segdla.errors import UserError
from segdla.machine import files
from segdla.machine.files import (
    locked,
    open_shared,
    owned,
    partial_path,
    put_in_place,
    take_lock,
    to_json,
    unused,
    write_json,
    write_text,
    write_whole,
)

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("content", [b"new", lambda file: file.write(b"new")], ids=["bytes", "function"])
@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_written_and_its_folder_made(content, durable, tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_whole(path, content, durable=durable)
    write_whole(path, content, durable=durable)  # the second time in place of the first
    assert path.read_bytes() == b"new" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (FULL, UserError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ZeroDivisionError("a bug"), ZeroDivisionError),
        (RuntimeError("a bug"), RuntimeError),
    ],
)
@pytest.mark.parametrize("before", [None, b"old"])
def test_an_error_leaves_what_was_there_and_nothing_else(error, answer, before, tmp_path):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)

    def broken(file):
        file.write(b"half")
        raise error

    with pytest.raises(answer) as raised:
        write_whole(path, broken)
    assert answer is not UserError or str(raised.value) == (
        f"cannot write {path}: No space left on device; what was there before is untouched; make room or choose "
        "another place"
    )
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == ({} if before is None else {"file": before})


def test_an_error_of_the_disk_behind_another_is_the_one_that_is_told(tmp_path):
    def broken(file):
        try:
            raise FULL
        finally:
            raise RuntimeError("unexpected pos 64 vs 0")  # as torch.save does

    with pytest.raises(UserError, match="No space left on device"):
        write_whole(tmp_path / "file", broken)


def test_a_disk_that_fills_while_torch_writes_is_answered(tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "last.pt")
    process = start(save_with_little_room, tmp_path)
    process.join()
    assert process.exitcode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    assert torch.load(tmp_path / "last.pt", weights_only=True)["x"].numel() == 1


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_whole(tmp_path / "file" / "new", b"")
    with pytest.raises(UserError, match=r"cannot write .*Is a directory"):
        write_whole(tmp_path, b"")


@pytest.fixture
def order(monkeypatch):
    """A list of what happens: content and folder reach the disk, the file gets its name."""
    events = []
    replace = Path.replace

    def sync(descriptor):
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")

    def rename(path, target):
        events.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", rename)
    return events


def test_content_name_and_folder_reach_the_disk_in_this_order(order, tmp_path):
    write_whole(tmp_path / "file", lambda file: file.write(b"new"), durable=True)
    assert order == ["content", "name", "folder"]


def test_nothing_waits_for_the_disk_unless_asked_to(order, tmp_path):
    write_whole(tmp_path / "file", b"new")
    assert order == ["name"]


def test_a_disk_that_fails_to_keep_the_content_leaves_the_file_before(tmp_path, monkeypatch):
    def full(_):
        raise FULL

    write_text(tmp_path / "file", "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "old" and len(list(tmp_path.iterdir())) == 1


def folder_syncs_fail(monkeypatch, number):
    def of_files_alone(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", of_files_alone)


def test_a_folder_that_the_disk_fails_to_keep_is_told(tmp_path, monkeypatch):
    folder_syncs_fail(monkeypatch, errno.EIO)
    with pytest.raises(UserError, match="Input/output error"):
        write_text(tmp_path / "config.yaml", "data:")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_that_synchronises_no_folders_will_do(number, tmp_path, monkeypatch):
    folder_syncs_fail(monkeypatch, number)
    write_text(tmp_path / "config.yaml", "data:")
    assert (tmp_path / "config.yaml").read_text(encoding="utf-8") == "data:"


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 125 + "x.png"], ids=["ascii", "two bytes a letter"])
def test_the_longest_name_can_be_written(name, tmp_path):
    assert len(os.fsencode(name)) == 255
    write_whole(tmp_path / name, b"new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_names_of_files_while_they_are_written():
    assert partial_path(Path("runs/a.mp4"), ".mp4") == Path("runs/a.mp4.partial.mp4")
    long = [partial_path(Path("runs", "x" * 250 + end), ".mp4") for end in "ab"]
    assert all(path.parent == Path("runs") and len(path.name) < 255 and path.suffix == ".mp4" for path in long)
    assert long[0] != long[1]


def test_a_folder_is_put_in_place(tmp_path):
    (tmp_path / "new").mkdir()
    put_in_place(tmp_path / "new", tmp_path / "final")
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
    with pytest.raises(FileNotFoundError):
        put_in_place(tmp_path / "new", tmp_path / "final")


def test_json_has_no_nan():
    values = {"iou": {"a": math.nan, "b": 0.5}, "more": [math.inf, (1, "x", -math.inf)], "flag": True, "none": None}
    expected = {"iou": {"a": None, "b": 0.5}, "more": [None, [1, "x", None]], "flag": True, "none": None}
    assert to_json(values) == expected


def test_json_is_written_whole_or_told(tmp_path):
    write_json(tmp_path / "scores.json", {"é": math.nan})
    assert json.loads((tmp_path / "scores.json").read_text(encoding="utf-8")) == {"é": None}
    with pytest.raises(UserError, match=r"cannot write .*; the values: \{'mean_iou': None\}"):
        write_json(tmp_path / "scores.json" / "a", {"mean_iou": math.nan})


def test_unused_names(tmp_path):
    assert unused(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert unused(tmp_path / "run") == tmp_path / "run-3"
    (tmp_path / "eval.json").touch()
    assert unused(tmp_path / "eval.json") == tmp_path / "eval-2.json"
    (tmp_path / "dla34_v1.5").mkdir()
    assert unused(tmp_path / "dla34_v1.5") == tmp_path / "dla34_v1.5-2"


@pytest.fixture
def fcntl():
    return pytest.importorskip("fcntl", reason="there are no such locks on Windows")


@pytest.mark.usefixtures("fcntl")
def test_one_at_a_time_is_let_in(tmp_path):
    waits, entered = threading.Event(), threading.Event()

    def second():
        with locked(tmp_path / "lock", waits.set):
            entered.set()

    other = threading.Thread(target=second)
    with locked(tmp_path / "lock", lambda: pytest.fail("nobody is in")):
        other.start()
        assert waits.wait(10) and not entered.is_set()
    other.join(10)
    assert entered.is_set()


@pytest.mark.usefixtures("fcntl")
def test_a_file_is_one_process_s_own(tmp_path):
    with owned(tmp_path / "lock") as is_ours:
        assert is_ours
        assert run_together(own, tmp_path / "lock", world_size=1) == [False]
    assert run_together(own, tmp_path / "lock", world_size=1) == [True]


def test_a_file_that_cannot_be_opened_is_nobodys_own(tmp_path):
    with pytest.raises(FileNotFoundError), owned(tmp_path / "none" / "lock"):
        pass


@pytest.mark.usefixtures("fcntl")
def test_a_lock_is_shared_until_the_last_lets_go(tmp_path):
    first, second = (open_shared(tmp_path / "lock") for _ in range(2))
    assert not take_lock(first)
    second.close()
    assert take_lock(first)
    first.close()


def refusing(number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_without_locks_will_do(number, fcntl, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "lockf", refusing(number))
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    with locked(tmp_path / "a"), owned(tmp_path / "b") as is_ours:
        assert is_ours


def test_other_errors_of_locks_are_raised(fcntl, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "lockf", refusing(errno.EIO))
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    for lock in (locked, owned):
        with pytest.raises(OSError, match="Input/output error"), lock(tmp_path / "lock"):
            pass


def test_without_fcntl_nobody_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CAN_LOCK", False)
    with locked(tmp_path / "a"), locked(tmp_path / "a"), owned(tmp_path / "b") as is_ours:
        assert is_ours
    assert not list(tmp_path.iterdir())
