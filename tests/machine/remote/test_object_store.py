"""Objects listed, read and written, with retries and one-line answers; memory:// is the storage."""

import sys

import fsspec
import pytest

from segdla.errors import UserError
from segdla.machine.remote import object_store
from segdla.machine.remote.object_store import (
    list_folder,
    object_state,
    read_object,
    remove_object,
    walk_objects,
    write_object,
)
from segdla.machine.remote.storage_errors import StorageError


@pytest.fixture
def failing(monkeypatch):
    """``failing(*errors)`` lets reads fail with each error in turn, before one succeeds."""

    def arrange(*errors):
        left = list(errors)

        def cat_file(system, path, **options):
            if left:
                raise left.pop(0)
            return b"at last"

        monkeypatch.setattr(object_store, "PAUSE", 0)
        monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", cat_file)

    return arrange


def test_an_object_is_written_whole_and_read_back():
    write_object("memory://out/a b/ü#1.png", b"x" * 1000)
    assert read_object("memory://out/a b/ü#1.png") == b"x" * 1000


def test_a_tree_is_walked_from_the_top_and_pruned():
    for name in ("b/2.png", "a/1.png", "a/deep/3.png", "top.png"):
        write_object(f"memory://set/{name}", b"x")
    places = []
    for folder, listing in walk_objects("memory://set"):
        places.append((folder, list(listing.objects)))
        listing.folders[:] = [name for name in listing.folders if name != "deep"]
    assert places == [("memory://set", ["top.png"]), ("memory://set/a", ["1.png"]), ("memory://set/b", ["2.png"])]


def test_the_state_changes_with_the_object():
    write_object("memory://set/a", b"1")
    before = object_state("memory://set/a")
    write_object("memory://set/a", b"2")
    assert object_state("memory://set/a") != before
    assert list_folder("memory://set").objects["a"] == object_state("memory://set/a")


def test_what_is_not_there():
    with pytest.raises(FileNotFoundError):
        read_object("memory://set/none")
    assert list(walk_objects("memory://nothing")) == []
    remove_object("memory://set/none")


def test_a_read_that_fails_by_chance_is_tried_again(failing):
    failing(TimeoutError(), ConnectionResetError("reset"), OSError("SlowDown"))
    assert read_object("memory://set/a") == b"at last"


def test_an_object_that_never_comes_is_named_after_a_bound(failing):
    failing(*[TimeoutError("no answer")] * object_store.ATTEMPTS)
    with pytest.raises(StorageError, match=r"cannot read memory://set/a: no answer \(5 attempts in 0 s\)"):
        read_object("memory://set/a")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError("Forbidden"), "access denied"),
        (OSError("ExpiredToken: The provided token has expired."), "have expired; renew them"),
        (FileNotFoundError("The specified bucket does not exist"), "there is no such bucket"),
    ],
)
def test_a_refusal_is_told_at_once(failing, error, message):
    failing(error, AssertionError("tried again"))
    with pytest.raises(StorageError, match=message):
        read_object("memory://set/a")


def test_secrets_are_in_no_message(failing, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "topsecret123")
    failing(PermissionError("topsecret123 to https://me:pw4711@host/a.png?X-Amz-Signature=sig0815 is forbidden"))
    with pytest.raises(StorageError) as caught:
        read_object("memory://set/a")
    for secret in ("topsecret123", "pw4711", "sig0815"):
        assert secret not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UserError, match="gs:// takes the package gcsfs: pip install gcsfs"):
        read_object("gs://bucket/key")
