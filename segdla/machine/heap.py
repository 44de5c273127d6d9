"""Memory that the C library holds for this process."""

import ctypes
import platform

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in malloc.h


def keep_memory(device: torch.device) -> None:
    """Let glibc keep freed memory for the next step, if it computes on the processor.

    Else it gives a step's maps back to the system, which hands them out again page by page, each cleared first.
    """
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        for parameter in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            ctypes.CDLL(None).mallopt(parameter, 2**31 - 1)
