"""A run's folder, copied into storage while the training goes on; memory:// is the storage."""

from functools import partial

import fsspec
import pytest
import tiny_run
import torch
from tiny_run import TINY, tiny_training, train_tiny

from segdla.config import parse
from segdla.errors import UserError
from segdla.machine.remote import object_store
from segdla.machine.remote.object_store import read_object
from segdla.training.upload import Upload


@pytest.fixture
def folder(tmp_path):
    run = tmp_path / "first"
    (run / "samples").mkdir(parents=True)
    for name in ("config.yaml", ".lock", "last.pt", "samples/step_1.png"):
        (run / name).write_text(name, encoding="utf-8")
    return run


@pytest.fixture
def store(monkeypatch):
    """The storage; ``store.refuses`` are names of objects that can't be written."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    kind, pipe = type(system), type(system).pipe_file
    kind.refuses = []

    def pipe_file(self, path, value, **options):
        if any(path.endswith(name) for name in kind.refuses):
            raise PermissionError("Forbidden")
        pipe(self, path, value, **options)

    monkeypatch.setattr(kind, "pipe_file", pipe_file)
    yield system
    system.store.clear()


def names(store):
    return sorted(name.removeprefix("/runs/first/") for name in store.store)


def test_all_of_a_run_but_its_lock_is_copied(folder, store, capfd):
    Upload(folder, "memory://runs", "config.yaml").finish()
    assert names(store) == ["config.yaml", "last.pt", "samples/step_1.png"]
    assert f"{folder} is in memory://runs/first too" in capfd.readouterr().out


def test_what_is_asked_for_during_a_copy_is_settled_too(folder, store, monkeypatch):
    upload = Upload(folder, "memory://runs", "config.yaml")
    pipe = type(store).pipe_file

    def pipe_file(self, path, value, **options):
        if path.endswith("samples/step_1.png"):  # the last of the files: more comes while it is copied
            (folder / "later.json").write_text("{}", encoding="utf-8")
            upload.ask()
        pipe(self, path, value, **options)

    monkeypatch.setattr(type(store), "pipe_file", pipe_file)
    upload.ask()
    upload.settle()
    upload.settle()  # what was asked for meanwhile
    assert "later.json" in names(store)


def test_what_is_new_is_copied_while_the_training_goes_on(folder, store):
    upload = Upload(folder, "memory://runs/", "config.yaml")
    upload.ask()
    upload.settle()
    store.rm_file("/runs/first/samples/step_1.png")
    (folder / "last.pt").write_text("later", encoding="utf-8")
    upload.finish()
    assert read_object("memory://runs/first/last.pt") == b"later"
    assert names(store) == ["config.yaml", "last.pt"]  # what has not changed is not copied again


def test_a_copy_is_asked_for_when_the_state_of_an_evaluation_is_on_the_disk(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(Upload, "ask", lambda upload: asked.append(torch.load(upload.folder / "last.pt")["evaluated"]))
    monkeypatch.setattr(tiny_run, "RunLog", partial(tiny_run.RunLog, upload="memory://runs"))
    assert train_tiny(folder, tiny_training(), save_every=2)  # eight steps, and an evaluation after each third
    assert asked == [3, 6, 8, 8]  # and at the end


def test_a_failing_upload_is_told_tried_again_and_told_at_the_end(folder, store, capfd):
    upload = Upload(folder, "memory://runs", "config.yaml")
    store.refuses.append("last.pt")
    upload.ask()
    upload.settle()
    assert "warning: the upload fails, and is tried again after the next evaluation" in capfd.readouterr().out
    upload.finish()
    out = capfd.readouterr().out
    assert f"of {folder} are not in memory://runs/first, such as last.pt (cannot write" in out


def test_a_failure_that_has_passed_is_forgotten(folder, store, capfd):
    upload = Upload(folder, "memory://runs", "config.yaml")
    store.refuses.append("last.pt")
    upload.ask()
    upload.settle()
    store.refuses.clear()
    upload.finish()
    assert names(store) == ["config.yaml", "last.pt", "samples/step_1.png"]


def test_a_bucket_that_takes_nothing_is_answered_before_the_training(folder, store):
    store.refuses.append("config.yaml")
    with pytest.raises(UserError, match=r"cannot write memory://runs/first/config\.yaml: access denied"):
        Upload(folder, "memory://runs", "config.yaml")


def test_a_storage_that_does_not_answer_holds_nothing_up_for_long(folder, store, monkeypatch):
    upload = Upload(folder, "memory://runs", "config.yaml")
    monkeypatch.setattr(object_store, "PAUSE", 0)
    monkeypatch.setattr(type(store), "pipe_file", lambda *_: (_ for _ in ()).throw(TimeoutError("no answer")))
    upload.finish()
    assert names(store) == ["config.yaml"]


@pytest.mark.parametrize("place", ["runs/copies", "s3://key:hunter2@bucket/runs"])
def test_a_place_that_is_no_url_or_holds_credentials_is_refused(place):
    import yaml

    values = yaml.safe_load(TINY)
    values["train"]["upload"] = place
    with pytest.raises(UserError, match=r"train\.upload") as caught:
        parse(values)
    assert "hunter2" not in str(caught.value)
