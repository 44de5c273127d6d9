import os

import pytest
import torch
from torch import nn

from segdla.errors import UserError
from segdla.machine import device as module
from segdla.machine.device import Machine, choose_device, choose_precision, compiled, in_precision, start

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
FLAGS = {
    "cudnn tf32": lambda: torch.backends.cudnn.allow_tf32,
    "matmul tf32": lambda: torch.backends.cuda.matmul.allow_tf32,
    "deterministic": torch.are_deterministic_algorithms_enabled,
    "filled": lambda: torch.utils.deterministic.fill_uninitialized_memory,
    "cublas": lambda: os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
}


def flags():
    return {name: read() for name, read in FLAGS.items()}


@pytest.fixture
def cuda(monkeypatch):
    """Fake two CUDA devices; gives the list of those that were set."""
    before = flags()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is put back after the test
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch, "zeros", lambda *_, device: torch.ones(1))
    devices = []
    monkeypatch.setattr(torch.cuda, "set_device", devices.append)
    yield devices
    torch.backends.cudnn.allow_tf32 = before["cudnn tf32"]
    torch.backends.cuda.matmul.allow_tf32 = before["matmul tf32"]
    torch.use_deterministic_algorithms(before["deterministic"])
    torch.utils.deterministic.fill_uninitialized_memory = before["filled"]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_questions_change_nothing(precision, cuda):
    before = flags()
    for name in ("auto", "cuda", "cuda:1"):
        assert choose_precision(precision, choose_device(name)) == precision
    choose_precision(precision, choose_device("cpu"))
    assert flags() == before and cuda == []


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("deterministic", [False, True])
def test_starting_puts_the_answers_in_force(precision, deterministic, cuda):
    assert start("auto", precision, deterministic=deterministic) == Machine(CUDA, precision, precision)
    assert cuda == [CUDA]
    assert flags() == {
        "cudnn tf32": precision == "tf32",
        "matmul tf32": False,
        "deterministic": deterministic,
        "filled": not deterministic,
        "cublas": ":4096:8" if deterministic else None,
    }


def test_a_run_computes_as_configured_after_one_that_was_deterministic(cuda, monkeypatch):
    start("cuda", "fp32", deterministic=True)
    start("cuda", "fp32")  # a question of others, such as a network that is opened
    assert flags()["deterministic"] and not flags()["filled"]
    start("cuda", "fp32", deterministic=False)
    assert not flags()["deterministic"] and flags()["filled"]
    start("cuda", "fp32", deterministic=True)
    start("cpu", "fp32", deterministic=False)
    assert not flags()["deterministic"] and flags()["filled"]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "use_deterministic_algorithms", None)  # it imports the compiler: not for nothing
        start("cpu", "fp32", deterministic=False)


def test_starting_on_a_cpu_leaves_the_flags_of_cuda(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    before = flags()
    assert start("cpu", "tf32") == Machine(CPU, "fp32", "tf32")
    assert flags() == before


@pytest.mark.parametrize(
    ("wanted", "fast_bf16", "nearest"),
    [
        ("fp32", False, "fp32"),
        ("tf32", True, "fp32"),
        ("bf16", True, "bf16"),
        ("bf16", False, "fp32"),
        ("fp16", True, "bf16"),
        ("fp16", False, "fp32"),
    ],
)
def test_the_nearest_precision_is_used_and_said(wanted, fast_bf16, nearest, monkeypatch):
    monkeypatch.setattr(module, "has_fast_bf16", lambda: fast_bf16)
    assert choose_precision(wanted, CPU) == nearest
    assert str(start("cpu", wanted)) == (nearest if wanted == nearest else f"{nearest} (cpu has no fast {wanted})")


@pytest.mark.parametrize(
    ("wanted", "nearest"), [("fp32", "fp32"), ("tf32", "fp32"), ("bf16", "fp16"), ("fp16", "fp16")]
)
def test_an_older_gpu_has_halves_of_one_kind(wanted, nearest, cuda, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert choose_precision(wanted, CUDA) == nearest


def test_one_device_for_several_processes_is_refused(monkeypatch):
    monkeypatch.setattr(module.distributed, "world_size", lambda: 2)
    for device in ("cuda:0", CUDA):
        with pytest.raises(UserError, match=r"device 'cuda:0' is one for 2 processes; name its kind alone"):
            choose_device(device)


def test_a_device_that_was_chosen_starts_in_several_processes(cuda, monkeypatch):
    monkeypatch.setattr(module.distributed, "world_size", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert start(choose_device("auto"), "fp32").device == torch.device("cuda", 1)
    assert cuda == [torch.device("cuda", 1)]


def test_more_processes_than_devices_are_answered(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(UserError, match=r"4 processes for 2 CUDA devices; give torchrun --nproc_per_node 2"):
        choose_device("cuda")


def test_a_device_that_is_busy(monkeypatch):
    def busy(*_, **__):
        raise RuntimeError("CUDA-capable device(s) is/are busy or unavailable")

    monkeypatch.setattr(torch, "zeros", busy)
    with pytest.raises(UserError, match=r"busy or unavailable.*; try auto or cpu$"):
        choose_device("cuda")
    with pytest.raises(UserError, match=r"busy or unavailable.*; try cpu$"):
        choose_device("auto")


def test_a_device_that_is_none():
    with pytest.raises(UserError, match=r"device 'no_such_device' can't be used here .*; try auto or cpu$"):
        start("no_such_device", "fp32")


@pytest.mark.parametrize(("precision", "half"), [("fp32", None), ("tf32", None), ("bf16", torch.bfloat16)])
def test_halves_are_computed_under_autocast_and_come_back_as_floats(precision, half):
    layer, kinds = nn.Conv2d(3, 2, 1), []
    layer.register_forward_hook(lambda _module, _inputs, output: kinds.append(output.dtype))
    assert in_precision(layer, CPU, precision)(torch.ones(1, 3, 2, 2)).dtype == torch.float32
    assert kinds == [half or torch.float32]


def test_compiling_gives_the_same_numbers():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    fast = compiled(network, CPU)
    assert fast is not network and isinstance(fast, nn.Module)
    x = torch.randn(2, 3)
    torch.testing.assert_close(fast(x), network(x))


def test_what_cannot_be_compiled_stays_as_it_is(monkeypatch, capsys):
    def refuse(_):
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(torch, "compile", refuse)
    network = nn.Conv2d(3, 4, 3)
    assert compiled(network, CPU) is network
    assert "cpu can't compile (no compiler here)" in capsys.readouterr().out
