import errno

import cv2
import numpy as np
import pytest
import torch

from segdla.errors import UserError
from segdla.machine.out_of_memory import answering_out_of_memory, is_out_of_memory

CPU = torch.device("cpu")
KILLED = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
NOT_SHARED = RuntimeError(
    "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
    "RuntimeError: unable to allocate shared memory(shm) for file </torch_7_0>: No space left on device (28)"
)


def too_much():
    """What NumPy raises in a loader's process, as it arrives: torch can't make another error of its type."""
    try:
        np.empty(1 << 50)
    except MemoryError as error:
        name = f"{type(error).__module__}.{type(error).__name__}"
        return RuntimeError(f"Caught _ArrayMemoryError in DataLoader worker process 0.\n{name}: {error}")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),  # to start a worker
        cv2.error("OpenCV(5.0.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 4800000000 bytes"),
        too_much(),
        RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GiB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
    ids=lambda error: str(error)[:20],
)
def test_lack_of_memory_is_answered_with_the_remedy(error):
    assert is_out_of_memory(error)
    with pytest.raises(UserError, match=r"^out of memory on cpu: use less$"), answering_out_of_memory(CPU, "use less"):
        raise error


def test_a_lack_of_the_host_is_not_blamed_on_the_device():
    cuda = torch.device("cuda")
    answer = r"^out of memory on the host: use less, or data\.workers \(now 2\)$"
    with pytest.raises(UserError, match=answer), answering_out_of_memory(cuda, "use less", workers=2):
        raise MemoryError
    with pytest.raises(UserError, match=r"^out of memory on cuda: use less$"):  # noqa: SIM117
        with answering_out_of_memory(cuda, "use less", workers=2):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_mistake_is_told_as_it_is():
    with pytest.raises(UserError, match=r"^no MemoryError$"), answering_out_of_memory(CPU, "use less"):
        raise UserError("no MemoryError")


def test_a_killed_loader_process_is_answered():
    with (
        pytest.raises(UserError, match=r"a loader process was killed.* lower data\.workers \(now 3\)"),
        answering_out_of_memory(CPU, "", workers=3),
    ):
        raise KILLED


def test_a_lack_of_shared_memory_is_answered():
    with (
        pytest.raises(UserError, match=r"/dev/shm, docker --shm-size.* lower data\.workers \(now 3\)"),
        answering_out_of_memory(CPU, "", workers=3),
    ):
        raise NOT_SHARED


@pytest.mark.parametrize("error", [KILLED, NOT_SHARED], ids=["killed", "not shared"])
def test_where_nothing_loads_no_loader_is_blamed(error):
    with pytest.raises(RuntimeError, match="DataLoader worker"), answering_out_of_memory(CPU, ""):
        raise error


def test_other_errors_keep_their_traceback():
    with pytest.raises(RuntimeError, match="a bug"), answering_out_of_memory(CPU, "", workers=3):
        raise RuntimeError("a bug")
