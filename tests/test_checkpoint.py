import errno
import os
import stat
from pathlib import Path

import pytest
import torch
from distributed_work import save_with_little_room
from processes import start
from safetensors.torch import save_file

from segdla.checkpoint import (
    BEST,
    LAST,
    SHIPPED,
    find_checkpoint,
    folder_of_results,
    named,
    occupied,
    plain,
    read_training,
    read_weights,
    save_text,
    save_training,
    save_weights,
    unused,
)
from segdla.data.memory import locked
from segdla.errors import UserError


def test_weights_and_card_come_back(tmp_path):
    state = {"a": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last), "n": torch.tensor(3)}
    save_weights(tmp_path / BEST, state, {"classes": ["é", "b"], "scores": {"mean_iou": 0.5}})
    checkpoint = read_weights(tmp_path / BEST)
    assert checkpoint.card == {"classes": ["é", "b"], "scores": {"mean_iou": 0.5}}
    assert all(torch.equal(checkpoint.state_dict[name], tensor) for name, tensor in state.items())
    assert [path.name for path in tmp_path.iterdir()] == [BEST]


def test_files_that_are_no_checkpoint(tmp_path):
    path = tmp_path / BEST
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a checkpoint"):
        read_weights(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"model\.weights="):
        read_weights(path)
    save_file({"a": torch.zeros(1)}, path, {"format": "segdla checkpoint 1", "card": "{"})
    with pytest.raises(UserError, match="its card can't be read"):
        read_weights(path)


def test_training_state_comes_back(tmp_path):
    save_training(tmp_path / LAST, {"step": 3, "model": {"a": torch.ones(2)}})
    assert read_training(tmp_path)["step"] == 3


def test_a_run_that_ended_before_its_first_state_has_none(tmp_path):
    assert read_training(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_a_state_that_is_none(tmp_path, content):
    (tmp_path / LAST).write_bytes(content)
    with pytest.raises(UserError, match="is cut short or damaged"):
        read_training(tmp_path)


class Payload:
    def __reduce__(self):
        return (eval, ("__import__('pathlib').Path('ran').touch()",))


def test_code_in_a_training_state_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"step": Payload()}, tmp_path / LAST)
    with pytest.raises(UserError, match="loaded safely"):
        read_training(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_failed_write_leaves_the_previous_file(tmp_path, monkeypatch):
    save_training(tmp_path / LAST, {"step": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        save_training(tmp_path / LAST, {"step": 2})
    monkeypatch.undo()
    assert read_training(tmp_path)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


def test_the_newest_run_is_found(tmp_path):
    for age, name in enumerate(("b", "c", "a")):
        (tmp_path / name).mkdir()
        save_weights(tmp_path / name / BEST, {}, {})
        os.utime(tmp_path / name / BEST, (1000 - age, 1000 - age))
    assert find_checkpoint(None, tmp_path) == tmp_path / "b" / BEST
    assert find_checkpoint(str(tmp_path / "c")) == tmp_path / "c" / BEST
    assert find_checkpoint(str(tmp_path / "a" / BEST)) == tmp_path / "a" / BEST


def test_places_without_a_checkpoint(tmp_path):
    with pytest.raises(UserError, match="no folder of runs"):
        find_checkpoint(None, tmp_path / "runs")
    (tmp_path / "runs").mkdir()
    assert find_checkpoint(None, tmp_path / "runs") == SHIPPED
    with pytest.raises(UserError, match="no run or checkpoint"):
        find_checkpoint(str(tmp_path / "none"))
    with pytest.raises(UserError, match=f"has no {BEST}"):
        find_checkpoint(str(tmp_path))


def test_unused_names(tmp_path):
    assert unused(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert unused(tmp_path / "run") == tmp_path / "run-3"
    (tmp_path / "eval.json").touch()
    assert unused(tmp_path / "eval.json") == tmp_path / "eval-2.json"
    (tmp_path / "dla34_v1.5").mkdir()
    assert unused(tmp_path / "dla34_v1.5") == tmp_path / "dla34_v1.5-2"


def test_a_disk_that_fills_while_the_state_is_written_is_answered(tmp_path):
    save_training(tmp_path / "last.pt", {"x": torch.zeros(1)})
    process = start(save_with_little_room, tmp_path)
    process.join()
    assert process.exitcode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    assert torch.load(tmp_path / "last.pt", weights_only=True)["x"].numel() == 1


def test_a_file_system_without_locks_and_synchronised_folders(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    def of_files_alone(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    fcntl = pytest.importorskip("fcntl", reason="there are no such locks on Windows")
    monkeypatch.setattr(fcntl, "lockf", unknown)
    monkeypatch.setattr(fcntl, "flock", unknown)
    monkeypatch.setattr(os, "fsync", of_files_alone)
    with occupied(tmp_path), locked(tmp_path / "lock"):
        save_text(tmp_path / "config.yaml", "data:")
    assert (tmp_path / "config.yaml").read_text(encoding="utf-8") == "data:"


def test_a_folder_that_the_disk_fails_to_keep_is_told(tmp_path, monkeypatch):
    def of_files_alone(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", of_files_alone)
    with pytest.raises(UserError, match="Input/output error"):
        save_text(tmp_path / "config.yaml", "data:")


def test_scores_of_absent_classes_are_json():
    assert plain({"iou": {"a": float("nan"), "b": 0.5}}) == {"iou": {"a": None, "b": 0.5}}


def test_results_go_beside_what_is_ones_own(tmp_path):
    assert folder_of_results("runs/a", tmp_path / "a" / BEST) == tmp_path / "a"
    assert folder_of_results(None, SHIPPED) == Path()
    assert folder_of_results("hf://owner/name", tmp_path / "cached" / BEST) == Path()


def test_the_network_that_comes_along_is_nobodys_own_by_any_path(monkeypatch):
    monkeypatch.chdir(SHIPPED.parents[1])
    relative = Path("shipped") / SHIPPED.name
    for path in (SHIPPED, relative):
        assert folder_of_results(str(path), path) == Path()
        assert named(str(path), path) == str(path)
    assert named(None, SHIPPED).startswith("no run yet")
