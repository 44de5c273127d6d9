import unicodedata

import pytest

from segdla.data.paths import as_spelled, composed, user_path
from segdla.errors import UserError

NAME = unicodedata.normalize("NFC", "été 한글")
OTHER = unicodedata.normalize("NFD", NAME)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/set") == tmp_path / "set"
    assert user_path("~/set", tmp_path / "other") == tmp_path / "set"
    assert user_path("a~/b", tmp_path) == tmp_path / "a~/b"


def test_relative_paths_are_from_the_root(tmp_path):
    assert user_path("a/b", tmp_path) == tmp_path / "a/b"
    assert user_path(tmp_path / "a", tmp_path / "b") == tmp_path / "a"
    assert str(user_path("a")) == "a"


def test_words_that_are_no_path(tmp_path):
    with pytest.raises(UserError, match=r"the path 'a\\x00b' holds a NUL byte"):
        user_path("a\0b", tmp_path)
    with pytest.raises(UserError, match=r"no home folder for ~nobody-here/set .*write the whole path"):
        user_path("~nobody-here/set")


@pytest.mark.parametrize(("written", "meant"), [(NAME, OTHER), (OTHER, NAME)])
def test_names_in_another_unicode_form_are_found(tmp_path, written, meant):
    assert written != meant
    (tmp_path / meant / meant).mkdir(parents=True)
    assert user_path(f"{written}/{written}", tmp_path) == tmp_path / meant / meant
    assert user_path(f"{written}/{written}/nouveauté", tmp_path) == tmp_path / meant / meant / "nouveauté"
    assert user_path(f"{written}/gone", tmp_path).name == "gone"
    (tmp_path / written).mkdir()
    assert user_path(written, tmp_path) == tmp_path / written  # as it is written, if there is such a file


def test_folders_are_listed_once(tmp_path):
    (tmp_path / OTHER).touch()
    folders = {}
    assert as_spelled(tmp_path / NAME, folders) == tmp_path / OTHER
    assert folders == {tmp_path: {NAME: OTHER}}


def test_composed_names():
    assert composed(OTHER) == composed(NAME) == NAME and composed("plain") == "plain"
