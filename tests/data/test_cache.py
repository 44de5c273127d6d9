import atexit
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from support import write

from segdla.data import cache
from segdla.data.cache import CachedSource, ram_folder
from segdla.data.folder import folder
from segdla.data.pair_source import PairSource
from segdla.errors import UserError
from segdla.machine import shared_memory
from segdla.machine.cache_folder import cache_folder

NUMBER = 6
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def source(tmp_path):
    for index in range(NUMBER):
        write_pair(tmp_path, index, seed=index)
    return open_source(tmp_path)


def write_pair(root, index, seed):
    random = np.random.default_rng(seed)
    write(root / "images" / f"{index}.png", random.integers(0, 256, (20 + index, 30, 3), np.uint8))
    write(root / "masks" / f"{index}.png", random.integers(0, 2, (20 + index, 30), np.uint8))


def open_source(root, **kwargs):
    return folder(root, ("a", "b"), images="images", masks="masks", **kwargs)


def same(source, other):
    for index in range(len(source)):
        for here, there in zip(source.read(index), other.read(index), strict=True):
            np.testing.assert_array_equal(here, there)


@pytest.fixture
def decoded(monkeypatch):
    """The indices that were decoded."""
    indices = []
    read = PairSource.read
    monkeypatch.setattr(PairSource, "read", lambda self, index: (indices.append(index), read(self, index))[1])
    return indices


def test_what_is_cached_is_what_was_decoded(source, tmp_path):
    cached = CachedSource(source, tmp_path / "cache")
    assert cached.build() == []
    same(cached, source)
    np.testing.assert_array_equal(cached.target(2), source.target(2))
    assert [cached.name(i) for i in range(len(cached))] == source.names


def test_each_pair_is_decoded_once(source, tmp_path, decoded):
    for _ in range(2):
        cached = CachedSource(source, tmp_path / "cache")
        cached.build()
        for index in range(NUMBER):
            cached.read(index)
    assert sorted(decoded) == list(range(NUMBER))


def test_a_changed_file_is_read_anew_and_its_entry_replaced(source, tmp_path, decoded):
    cached = CachedSource(source, tmp_path / "cache")
    cached.build()
    decoded.clear()
    write_pair(tmp_path, 3, seed=99)
    image, _ = cached.read(3)
    np.testing.assert_array_equal(image, open_source(tmp_path).read(3)[0])
    decoded.clear()
    same(CachedSource(source, tmp_path / "cache"), CachedSource(source, tmp_path / "cache"))
    assert decoded == []
    assert len(list((tmp_path / "cache").glob("*.raw"))) == NUMBER


def test_another_encoding_has_entries_of_its_own(source, tmp_path):
    CachedSource(source, tmp_path / "cache").build()
    other = CachedSource(open_source(tmp_path, label_map={0: "b", 1: "a"}), tmp_path / "cache")
    other.build()
    np.testing.assert_array_equal(other.target(0), 1 - source.target(0))


def test_writing_to_what_was_read_changes_nothing(source, tmp_path):
    cached = CachedSource(source, tmp_path / "cache")
    cached.build()
    image, target = cached.read(0)
    image[:], target[:] = 7, 7
    same(cached, source)


@pytest.mark.parametrize("damage", [b"", b"x" * 20, None])
def test_a_damaged_entry_is_made_anew(source, tmp_path, damage):
    cached = CachedSource(source, tmp_path / "cache")
    cached.build()
    entry = cached.entries[1]
    entry.write_bytes(entry.read_bytes()[:-1] if damage is None else damage)
    same(cached, source)
    assert cached.build() == []
    same(cached, source)


def test_errors_are_collected_and_come_again_when_read(source, tmp_path):
    (tmp_path / "images" / "1.png").write_bytes(b"")
    (tmp_path / "images" / "4.png").unlink()
    cached = CachedSource(source, tmp_path / "cache")
    assert ["1.png is not an image" in str(error) or "4.png: No such" in str(error) for error in cached.build()] == [
        True
    ] * 2
    with pytest.raises(UserError, match=r"1\.png is not an image"):
        cached.read(1)
    assert cached.read(2)[0].shape == (22, 30, 3)


def test_too_little_room_is_an_error_before_anything_is_decoded(source, tmp_path, monkeypatch, decoded):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10_000}))
    with pytest.raises(UserError, match=r"cache of 6 images takes 0\.0 GB .* data\.cache=none"):
        CachedSource(source, tmp_path / "cache").build()
    assert decoded == []


def test_a_containers_limit_is_no_room(source, tmp_path, monkeypatch):
    """90 kB of 100 are used, 5 of them by files that the system would give up."""
    for name, text in (("max", "100000"), ("current", "90000"), ("stat", "active_file 2000\ninactive_file 3000\n")):
        (tmp_path / f"memory.{name}").write_text(text, encoding="ascii")
    monkeypatch.setattr(shared_memory, "_GROUP", tmp_path)
    monkeypatch.setattr(shared_memory, "_SHARED", tmp_path)
    with pytest.raises(UserError, match=r"has room for 0\.0; set data\.cache=disk, or data\.cache=none"):
        CachedSource(source, tmp_path / "cache").build()
    (tmp_path / "memory.max").write_text("max", encoding="ascii")
    assert CachedSource(source, tmp_path / "cache").build() == []


def test_a_folder_that_can_not_be_written_is_answered(source, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write the cache in .*file/cache"):
        CachedSource(source, tmp_path / "file" / "cache").build()


def test_a_full_disk_while_training_costs_time_only(source, tmp_path):
    cached = CachedSource(source, tmp_path / "never made")
    same(cached, source)


def _build(root, started):
    read = PairSource.read

    def slow(self, index):
        started.release()
        time.sleep(0.2)
        return read(self, index)

    PairSource.read = slow
    CachedSource(open_source(root), root / "cache").build()


def test_of_two_builds_at_once_the_second_waits(source, tmp_path, decoded):
    started = FORK.Semaphore(0)
    first = FORK.Process(target=_build, args=(tmp_path, started))
    first.start()
    started.acquire()
    waited = []
    CachedSource(source, tmp_path / "cache").build(on_wait=lambda: waited.append(True))
    first.join()
    assert waited == [True] and decoded == []
    same(CachedSource(source, tmp_path / "cache"), open_source(tmp_path))


def test_a_killed_build_leaves_no_half_entries_and_goes_on(source, tmp_path, decoded):
    started = FORK.Semaphore(0)
    first = FORK.Process(target=_build, args=(tmp_path, started))
    first.start()
    for _ in range(2 * (os.cpu_count() or 1)):  # so that some are done
        started.acquire(timeout=5)
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    (tmp_path / "cache" / "half.partial").write_bytes(b"half")
    cached = CachedSource(source, tmp_path / "cache")
    cached.build()
    assert not list((tmp_path / "cache").glob("*.partial"))
    same(cached, open_source(tmp_path))


def _use_memory(root, pipe):
    atexit._clear()  # the calls of the tests' process
    entries = ram_folder(open_source(root))
    CachedSource(open_source(root), entries).build()
    pipe.send(entries)
    pipe.recv()
    atexit._run_exitfuncs()  # which a forked process would not


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs /dev/shm")
def test_memory_is_freed_by_the_last_user_and_after_a_kill_by_the_next(source, tmp_path):
    def user():
        here, there = FORK.Pipe()
        process = FORK.Process(target=_use_memory, args=(tmp_path, there))
        process.start()
        return process, here, here.recv()

    def end(process, pipe):
        pipe.send("go")
        process.join()

    first, to_first, entries = user()
    second, to_second, again = user()
    assert entries == again and len(list(entries.glob("*.raw"))) == NUMBER
    end(first, to_first)
    assert entries.is_dir()  # the second still uses it
    end(second, to_second)
    assert not entries.exists()
    killed, _, entries = user()
    killed.kill()
    killed.join()
    assert entries.is_dir()
    ram_folder(open_source(tmp_path, label_map={0: "b", 1: "a"}))
    assert not entries.exists()


def test_nobody_s_home_is_no_place_for_a_cache(monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(UserError, match=r"home directory.*; set SEGDLA_CACHE"):
        cache_folder()
