"""The threads that PyTorch computes with on a processor: each thread that calls it has a team of them."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def compute_alone() -> None:
    """Let the calling thread compute without a team from now on; other threads keep theirs.

    For threads beside the one that computes. While there are more threads in teams than processors, idle or not, GNU's
    OpenMP puts those that wait to sleep after each operation, and waking them takes longer than most operations
    (``gomp_throttled_spin_count_var`` in its source). ``torch.set_num_threads`` is of all threads.
    """
    _set_team(1)


@contextmanager
def computing_alone() -> Iterator[None]:
    """Let the calling thread compute without a team in this context, so that another one may have it."""
    threads = torch.get_num_threads()
    compute_alone()
    try:
        yield
    finally:
        _set_team(threads)


def _set_team(threads: int) -> None:
    if sys.platform == "linux" and torch.backends.openmp.is_available():
        torch.get_num_threads()  # else the first operation would set PyTorch's number again
        ctypes.CDLL(torch._C.__file__).omp_set_num_threads(threads)
