"""Checkpoints on the hub, with a hub that is a folder."""

import importlib
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import segdla
from segdla.checkpoints import hub
from segdla.checkpoints.checkpoint import Card
from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.evaluation.scores import Scores


class HubError(Exception):
    pass


class EntryMissingError(HubError):
    pass


class NotHereError(EntryMissingError, OSError):
    pass


class FakeHub:
    """As much of huggingface_hub as is used; ``online``: True, False, or how long it takes not to answer."""

    def __init__(self, root, online=True, offline_variable=False):
        self.root, self.online = root, online
        self.cached = root / "cached"
        self.constants = SimpleNamespace(HF_HUB_OFFLINE=offline_variable)
        self.errors = SimpleNamespace(
            HfHubHTTPError=HubError, EntryNotFoundError=EntryMissingError, LocalEntryNotFoundError=NotHereError
        )
        self.private = None

    def hf_hub_url(self, name, file):
        return f"{name}/{file}"

    def get_hf_file_metadata(self, url, timeout):
        if self.online is not True:
            time.sleep(self.online)
            raise ConnectionError
        if not (self.root / url).exists():
            raise EntryMissingError(url)
        return SimpleNamespace(size=(self.root / url).stat().st_size)

    def hf_hub_download(self, repo_id, filename, revision, local_files_only, etag_timeout):
        here = self.cached / repo_id / filename
        if local_files_only:
            if not here.exists():
                raise NotHereError
            return str(here)
        there = self.root / (f"{repo_id}@{revision}" if revision else repo_id) / filename
        if not there.parent.exists():
            raise HubError("401 Client Error.\nRepository Not Found")
        if not there.exists():
            raise EntryMissingError
        here.parent.mkdir(parents=True, exist_ok=True)
        return str(shutil.copy(there, here))

    def CommitOperationAdd(self, path_in_repo, path_or_fileobj):  # noqa: N802 (its name)
        return path_in_repo, path_or_fileobj

    def HfApi(self):  # noqa: N802
        return self

    def create_repo(self, name, private, exist_ok):
        (self.root / name).mkdir(parents=True, exist_ok=exist_ok)
        self.private = private

    def file_exists(self, name, file):
        return (self.root / name / file).exists()

    def create_commit(self, name, operations, commit_message):
        for path, content in operations:
            content = content if isinstance(content, bytes) else content.read_bytes()
            (self.root / name / path).write_bytes(content)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    def use(**how):
        library = FakeHub(tmp_path / "hub", **how)
        monkeypatch.setitem(sys.modules, "huggingface_hub", library)
        monkeypatch.setitem(sys.modules, "huggingface_hub.constants", library.constants)
        monkeypatch.setitem(sys.modules, "huggingface_hub.errors", library.errors)
        return library

    return use


def test_what_is_saved_is_what_is_loaded(fake, checkpoint, tmp_path):
    library = fake()
    segmenter = segdla.load(checkpoint, "cpu")
    assert segmenter.save_to_hub("me/streets", private=True) == "hf://me/streets"
    assert library.private
    again = segdla.load("hf://me/streets", "cpu")
    assert again.path.read_bytes() == checkpoint.read_bytes()
    assert again.classes == segmenter.classes
    page = (tmp_path / "hub" / "me" / "streets" / "README.md").read_text(encoding="utf-8")
    assert "sky, road, car" in page and 'segdla.load("hf://me/streets")' in page and "mIoU on val: 50.00 %" in page
    (tmp_path / "hub/me/streets").rename(tmp_path / "hub/me/streets@v1")
    assert segdla.load("hf://me/streets@v1", "cpu").classes == segmenter.classes


def test_a_page_says_where_its_score_means_nothing():
    scores = Scores(0.5, 0.5, 0.5, {}, {}, split="val")
    config = {"model": {"backbone": "dla34"}, "data": {"dataset": "folder"}}
    card = Card(config, Classes(("sky",), ((0, 0, 0),)), scores, trained_on_val=True)
    assert "dla34, trained on folder; mIoU on val (trained on): 50.00 %." in hub.readme("me/streets", card)
    assert "dla34, trained on folder.\n" in hub.readme("me/streets", replace(card, scores=None))


def test_a_page_says_what_a_network_started_from_and_may_be_used_for():
    config = {"model": {"backbone": "dla34", "weights": "timm/dla34.in1k"}, "data": {"dataset": "camvid"}}
    page = hub.readme("me/streets", Card(config, Classes(("sky",), ((0, 0, 0),))))
    assert "dla34, trained on camvid. It started from timm/dla34.in1k. The terms of the data that it was " in page


def test_a_page_that_is_there_is_kept(fake, checkpoint, tmp_path):
    fake()
    (tmp_path / "hub/me/streets").mkdir(parents=True)
    (tmp_path / "hub/me/streets/README.md").write_text("mine")
    segdla.load(checkpoint, "cpu").save_to_hub("me/streets")
    assert (tmp_path / "hub/me/streets/README.md").read_text() == "mine"


@pytest.mark.parametrize("how", [{"online": False}, {"offline_variable": True}, {"online": 30}])
def test_without_a_network_it_says_so_at_once(fake, checkpoint, monkeypatch, how):
    monkeypatch.setattr("segdla.machine.hub_file._SECONDS", 0.1)
    library = fake(**how)
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"hf://me/streets is not on this machine yet and .* can't be reached"):
        segdla.load("hf://me/streets")
    with pytest.raises(UserError, match=r"cannot upload to hf://me/streets: .* can't be reached"):
        segdla.load(checkpoint, "cpu").save_to_hub("me/streets")
    assert time.monotonic() - begun < 25  # where an answer takes 30
    (library.cached / "me/streets").mkdir(parents=True)
    shutil.copy(checkpoint, library.cached / "me/streets" / hub.FILE)
    assert segdla.load("hf://me/streets", "cpu").path.parent == library.cached / "me/streets"  # from before


def test_what_the_hub_does_not_have(fake, checkpoint, tmp_path):
    fake()
    with pytest.raises(UserError, match=r"cannot get hf://me/none \(401 Client Error\.\); check the name"):
        segdla.load("hf://me/none")
    (tmp_path / "hub/me/other").mkdir(parents=True)
    with pytest.raises(UserError, match=r"hf://me/other has no model\.safetensors"):
        segdla.load("hf://me/other")
    for name in ("me", "me/a/b", "../x/y", ""):
        with pytest.raises(UserError, match="OWNER/NAME"):
            segdla.load(f"hf://{name}")


def test_without_the_extra(monkeypatch, checkpoint, fails):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r'pip install "segdla\[hub\]"'):
        segdla.load("hf://me/streets")
    Path("a.png").touch()
    assert 'pip install "segdla[hub]"' in fails("predict", "a.png", "--checkpoint", "hf://me/streets")


def test_only_checkpoints_are_uploaded(fake, tmp_path):
    fake()
    with pytest.raises(UserError, match="load the run that it was exported from"):
        hub.upload("me/streets", tmp_path / "model.onnx", Card({}, Classes((), ())), False)


def test_the_real_library_is_used_as_it_is(monkeypatch, tmp_path):
    """Offline by its own variable, nothing in its cache: an answer, and no network."""
    library = pytest.importorskip("huggingface_hub")
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="can't be reached"):
        segdla.load("hf://segdla-tests/no-such-model")
    for name in ("hf_hub_url", "get_hf_file_metadata", "HfApi", "CommitOperationAdd"):
        assert hasattr(library, name)
