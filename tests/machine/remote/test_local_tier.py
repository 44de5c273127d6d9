"""Objects kept on this machine, keyed by URL and state."""

import os
import shutil
from types import SimpleNamespace

import fsspec
import pytest

from segdla.errors import UserError
from segdla.machine.remote import local_tier
from segdla.machine.remote.local_tier import bring_ahead, kept_file, open_kept
from segdla.machine.remote.object_store import list_folder, write_object
from segdla.machine.remote.storage_errors import StorageError

URL = "memory://set/a b/ü.png"


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    monkeypatch.setattr(local_tier, "_states", {})
    local_tier._warned[0] = 0


@pytest.fixture
def reads(monkeypatch):
    """The URLs that are fetched."""
    urls, read = [], local_tier.read_object
    monkeypatch.setattr(local_tier, "read_object", lambda url: (urls.append(url), read(url))[1])
    return urls


def content(url):
    with open_kept(url) as file:
        return file.read()


def kept(tmp_path):
    return [path for path in (tmp_path / "tier").rglob("*") if path.is_file()]


def test_an_object_is_fetched_once(reads, tmp_path):
    write_object(URL, b"one")
    assert [content(URL), content(URL)] == [b"one", b"one"]
    assert reads == [URL]
    assert [path.suffix for path in kept(tmp_path)] == [".png"]


def test_a_changed_object_is_fetched_anew_and_takes_the_old_one_s_place(reads, tmp_path):
    write_object(URL, b"one")
    content(URL)
    write_object(URL, b"two")
    (listed,) = list_folder("memory://set/a b").objects.values()
    local_tier.remember(URL, listed)
    assert content(URL) == b"two"
    assert len(reads) == 2 and len(kept(tmp_path)) == 1


def test_an_object_that_changes_while_a_run_reads_is_kept_under_its_new_state(reads):
    write_object(URL, b"one")
    local_tier.remember(URL, local_tier.ObjectState(99, "old"))
    assert [content(URL), content(URL)] == [b"one", b"one"]
    assert reads == [URL] * 2  # the second time, it was of the state that it is kept under


def test_an_object_that_always_comes_cut_short_is_named(monkeypatch):
    write_object(URL, b"one")
    monkeypatch.setattr(local_tier, "read_object", lambda url: b"on")
    with pytest.raises(StorageError, match=f"cannot read {URL}: it came cut short"):
        content(URL)


def test_objects_come_ahead_of_their_turn(reads):
    write_object(URL, b"one")
    bring_ahead([URL])
    local_tier._coming[URL].result()
    assert reads == [URL]
    assert content(URL) == b"one" and reads == [URL]


def test_an_error_of_what_is_brought_ahead_is_raised_in_its_turn():
    bring_ahead(["memory://set/none"])
    with pytest.raises(FileNotFoundError):
        content("memory://set/none")


@pytest.mark.parametrize("fault", ["full", "no folder"])
def test_without_room_objects_are_read_and_one_warning_says_so(fault, reads, tmp_path, monkeypatch, capfd):
    if fault == "full":
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=local_tier.RESERVE - 1))
    else:
        (tmp_path / "tier").write_bytes(b"")
    write_object(URL, b"one")
    assert [content(URL), content(URL)] == [b"one", b"one"]
    assert len(reads) == 2
    out = "".join(capfd.readouterr())
    assert out.count("warning: files from storage are no longer kept") == 1 and "set SEGDLA_CACHE" in out
    with pytest.raises(UserError, match=f"no room for {URL}"):
        kept_file(URL)


def test_a_large_object_goes_to_the_disk_in_pieces(monkeypatch, tmp_path):
    monkeypatch.setattr(local_tier, "LARGE", 4)
    monkeypatch.setattr(local_tier, "read_object", None)  # not called
    write_object("memory://set/all.zip", b"12345")
    assert kept_file("memory://set/all.zip").read_bytes() == b"12345"
    assert len(kept(tmp_path)) == 1


def test_a_forked_process_reads_what_its_parent_has_on_its_way():
    write_object(URL, b"one")
    bring_ahead([URL])
    child = os.fork()
    if child == 0:
        os._exit(0 if not local_tier._coming and content(URL) == b"one" else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_names_of_files_hold_nothing_of_a_url(tmp_path):
    fsspec.filesystem("memory").pipe_file("/set/token=xyz.secretly-long-suffix", b"1")
    content("memory://set/token=xyz.secretly-long-suffix")
    (path,) = kept(tmp_path)
    assert "xyz" not in path.name and "secret" not in path.name
