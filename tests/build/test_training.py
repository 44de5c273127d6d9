"""From config to a run: what a user can ask for, and what is answered."""

import errno
from pathlib import Path

import pytest
import torch
from distributed_work import find_occupied
from processes import run_together

from segdla import build, config
from segdla.build import training
from segdla.build.memory import answering_memory
from segdla.checkpoint import Checkpoint
from segdla.errors import UserError

CPU = torch.device("cpu")


def settings(*overrides):
    return config.parse({"data": {"dataset": "scenes"}}, overrides)


@pytest.mark.parametrize(
    ("asked", "capability", "found"),
    [
        ("fp32", "AVX2", "fp32"),
        ("tf32", "AVX512", "fp32"),
        ("bf16", "AVX512", "bf16"),
        ("bf16", "AVX2", "fp32"),
        ("fp16", "AVX512", "bf16"),
        ("fp16", "AVX2", "fp32"),
    ],
)
def test_the_nearest_precision_is_used_and_said(asked, capability, found, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert build.precision(asked, CPU) == found
    assert build.computed_in(asked, found, CPU) == (found if asked == found else f"{found} (cpu has no {asked})")


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_trained_network_lies_in_memory_as_it_did_in_training(channels_last):
    asked = settings(f"train.channels_last={channels_last}", "model.backbone=dla46_c")
    checkpoint = Checkpoint(Path("best"), build.model(asked, 2).state_dict(), {"classes": ["a", "b"]})
    weights = [tensor for tensor in build.trained(checkpoint, asked, CPU).state_dict().values() if tensor.ndim == 4]
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in weights) == channels_last


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),  # to start a worker
        RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GiB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
)
def test_out_of_memory_names_three_settings_and_their_values(error):
    asked = settings("train.accumulate=2", "train.batch_size=8", "data.crop=[64, 96]")
    with pytest.raises(UserError) as answer, answering_memory(asked, CPU, training.memory_remedy(asked)):
        raise error
    for words in (
        "train.accumulate (now 2",
        "data.crop (now 64x96)",
        "train.batch_size (now 8)",
        "eval.batch_size (now",
    ):
        assert words in str(answer.value)


def test_testing_out_of_memory_names_what_to_set(two_folders, tool, fails, monkeypatch):
    assert tool("train")(two_folders, "--name", "whole") == 0

    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("segdla.models.segmenter.DLASeg.logits", too_large)
    message = fails("test", "runs/whole", "--device", "cpu")
    assert "--window 512 512" in message and "eval.low_memory=true (now False)" in message


def test_one_device_for_several_processes_is_refused(monkeypatch):
    monkeypatch.setattr(build.distributed, "world_size", lambda: 2)
    with pytest.raises(UserError, match=r"device 'cuda:0' is one for 2 processes; name its kind alone"):
        build.device("cuda:0")


def test_a_device_that_is_busy(monkeypatch):
    def busy(*_, **__):
        raise RuntimeError("CUDA-capable device(s) is/are busy or unavailable")

    monkeypatch.setattr(torch, "zeros", busy)
    with pytest.raises(UserError, match=r"busy or unavailable.*; try auto or cpu$"):
        build.device("cuda")
    with pytest.raises(UserError, match=r"busy or unavailable.*; try cpu$"):
        build.device("auto")


def test_a_killed_loader_process_is_answered():
    with (
        pytest.raises(UserError, match=r"a loader process was killed.* lower data\.workers \(now 3\)"),
        answering_memory(settings("data.workers=3"), CPU, ""),
    ):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")


def test_a_lack_of_shared_memory_is_answered():
    with (
        pytest.raises(UserError, match=r"/dev/shm, docker --shm-size.* lower data\.workers \(now 3\)"),
        answering_memory(settings("data.workers=3"), CPU, ""),
    ):
        raise RuntimeError(
            "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
            "RuntimeError: unable to allocate shared memory(shm) for file </torch_7_0>: No space left on device (28)"
        )


def test_other_errors_keep_their_traceback():
    with pytest.raises(RuntimeError, match="a bug"), answering_memory(settings(), CPU, ""):
        raise RuntimeError("a bug")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.batch_size=4", "train.batch_size is 4, and was 2 when runs/two_folders was saved"),
        ("train.seed=1", "train.seed is 1, and was 0"),
        ("model.mean=[0, 0, 0]", "model.mean is [0.0, 0.0, 0.0], and was [0.485, 0.456, 0.406]"),
        ("model.weights=other.pth", "model.weights is other.pth, and was None"),
        (
            "data.classes=[a, b, c, d, e, f, g, h, i]",
            "classes is ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'], and was [",
        ),
    ],
)
def test_a_resumed_run_stays_in_its_place_in_the_data(two_folders, tool, fails, change, message):
    assert tool("train")(two_folders) == 0
    assert message in fails("train", "--resume", "runs/two_folders", "train.epochs=2", change)


def test_unreadable_images_are_left_out_by_choice(two_folders, tool, tmp_path, capfd, fails):
    (tmp_path / "set" / "train" / "images" / "scene 2.png").write_bytes(b"broken")
    assert "scene 2.png" in fails("train", two_folders)
    assert tool("train")(two_folders, "data.unreadable=skip", "train.epochs=2") == 0
    assert "left out: " in capfd.readouterr().out
    assert '"unreadable": ' in (tmp_path / "runs" / "two_folders" / "metrics.jsonl").read_text(encoding="utf-8")


def test_class_weights_are_counted_without_unreadable_masks_by_choice(two_folders, tool, tmp_path, capfd, fails):
    (tmp_path / "set" / "train" / "masks" / "scene 2.png").write_bytes(b"broken")
    counted = "loss.class_weights=enet"
    assert "scene 2.png" in fails("train", two_folders, counted)
    assert tool("train")(two_folders, counted, "data.unreadable=skip", "train.epochs=1") == 0
    printed = capfd.readouterr().out
    assert printed.index("left out: ") < printed.index("class weights (enet)")


@pytest.mark.parametrize("pretrained", [False, True])
def test_a_run_that_ended_before_its_first_state_is_resumed_from_its_start(two_folders, tool, tmp_path, pretrained):
    runs = tmp_path / "runs"
    assert tool("train")(two_folders, "--name", "first", "train.seed=1") == 0
    weights = [f"model.weights={runs / 'first' / 'best.safetensors'}"] * pretrained
    assert tool("train")(two_folders, *weights, "--name", "whole") == 0
    (runs / "begun").mkdir()
    (runs / "begun" / "config.yaml").write_bytes((runs / "whole" / "config.yaml").read_bytes())
    assert tool("train")("--resume", runs / "begun") == 0
    states = [torch.load(runs / name / "last.pt", weights_only=True)["model"] for name in ("whole", "begun")]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_a_run_is_one_process_s_alone_while_it_is_trained(two_folders, tool, tmp_path, monkeypatch):
    run, train, others = tmp_path / "runs" / "mine", training.engine.train, []

    def with_another(*args):
        others.extend(run_together(find_occupied, run, world_size=1))
        return train(*args)

    monkeypatch.setattr(training.engine, "train", with_another)
    assert tool("train")(two_folders, "--name", "mine") == 0
    assert tool("train")("--resume", run, "train.epochs=2") == 0
    assert others == [0, 0]


def test_weights_that_are_gone_are_kept_anew(two_folders, tool, tmp_path):
    run = tmp_path / "runs" / "mine"
    assert tool("train")(two_folders, "--name", "mine") == 0
    state = torch.load(run / "last.pt", weights_only=True)
    torch.save({**state, "best": 0.99}, run / "last.pt")
    (run / "best.safetensors").unlink()
    assert tool("train")("--resume", run, "train.epochs=2") == 0
    assert (run / "best.safetensors").exists()


def test_a_state_that_is_cut_short_is_answered(two_folders, tool, tmp_path, fails):
    run = tmp_path / "runs" / "mine"
    assert tool("train")(two_folders, "--name", "mine") == 0
    (run / "last.pt").write_bytes((run / "last.pt").read_bytes()[:1000])
    assert "last.pt is cut short or damaged" in fails("train", "--resume", run, "train.epochs=2")
    torch.save({"step": 1}, run / "last.pt")
    assert "does not fit the config" in fails("train", "--resume", run, "train.epochs=2")


def test_a_disk_that_fails_condemns_no_state(two_folders, tool, fails, monkeypatch):
    assert tool("train")(two_folders, "--name", "mine") == 0

    def broken(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(torch, "load", broken)
    assert "cannot read runs/mine/last.pt: Input/output error" in fails("train", "--resume", "runs/mine")


def test_what_fails_at_its_first_step_leaves_no_run(two_folders, fails, tmp_path, monkeypatch):
    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training.engine, "take_step", too_large)
    assert "out of memory" in fails("train", two_folders, "--name", "mine")
    assert not (tmp_path / "runs" / "mine").exists()


def test_what_fails_at_its_first_step_changes_no_run(two_folders, tool, fails, tmp_path, monkeypatch):
    assert tool("train")(two_folders, "--name", "mine") == 0
    files = {path: path.read_bytes() for path in (tmp_path / "runs" / "mine").glob("*.*") if "events" not in path.name}

    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training.engine, "take_step", too_large)
    assert "out of memory" in fails("train", "--resume", "runs/mine", "train.epochs=2", "data.crop=[64, 64]")
    assert {path: path.read_bytes() for path in files} == files


def test_parts_too_small_for_batch_normalisation_are_refused(two_folders, fails):
    message = fails("train", two_folders, "train.batch_size=1", "data.crop=[32, 32]")
    assert "parts of one image of 32x32 (data.crop) are too small" in message


def test_more_processes_than_devices_are_answered(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(UserError, match=r"4 processes for 2 CUDA devices; give torchrun --nproc_per_node 2"):
        build.device("cuda")


def test_another_optimizer_does_not_resume(two_folders, tool, tmp_path, fails):
    assert tool("train")(two_folders, "--name", "first") == 0
    message = fails("train", "--resume", tmp_path / "runs" / "first", "train.epochs=2", "train.optimizer=adamw")
    assert "does not fit the config" in message


def test_lack_of_memory_while_resuming_is_told_as_such(two_folders, tool, fails, monkeypatch):
    assert tool("train")(two_folders) == 0

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training.Training, "load_state_dict", full)
    assert "out of memory" in fails("train", "--resume", "runs/two_folders", "train.epochs=2")


def test_what_takes_long_comes_after_what_can_be_wrong(two_folders, tool, fails, monkeypatch):
    assert tool("train")(two_folders) == 0
    monkeypatch.setattr(training, "datasets", lambda *_: pytest.fail("decoded and counted first"))
    assert "no weights file" in fails("train", two_folders, "model.weights=none.pth")
    assert "has done its 1 epochs" in fails("train", "--resume", "runs/two_folders")


def test_a_warm_up_that_never_ends_is_told(two_folders, tool, capsys):
    assert tool("train")(two_folders, "train.warmup_steps=2") == 0
    assert "train.warmup_steps is 2 of 2 steps" in " ".join(capsys.readouterr().out.split())


def test_the_summary_tells_what_will_happen(two_folders, tool, capsys):
    assert tool("train")(two_folders, "train.accumulate=2") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "M parameters" in said and "GMAC for a crop of 32x64" in said
    assert "4 images to train on, 2 to validate" in said
    assert "1 epochs of 2 steps of 2 images (in 2 parts of 1): 2 steps" in said


def test_validation_images_may_be_trained_on_and_then_choose_no_weights(two_folders, tool, tmp_path, capsys):
    settings = ("data.train_on_val=true", "train.epochs=3", "train.lr=1e-9")
    assert tool("train")(two_folders, *settings) == 0
    said = capsys.readouterr().out
    assert "6 images to train on, 2 of them to validate" in said
    assert "the last weights, of step 9; on val, trained on:" in said
    assert "tools/test.py runs/two_folders --multiscale --split test" in said
    assert tool("test")("runs/two_folders") == 0
    assert "trained on these images too" in capsys.readouterr().out
