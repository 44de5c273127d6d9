import platform
import subprocess
import sys

import pytest

CODE = """
import torch
from segdla.machine.heap import keep_memory
if {keeps}:
    keep_memory(torch.device("cpu"))
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])
block = torch.ones(2**24)
before = resident()
del block
print((before - resident()) * 4096 > 2**25)  # half of the block has been given back
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have rules of their own")
@pytest.mark.parametrize("keeps", [True, False])
def test_freed_memory_stays(keeps):
    words = [sys.executable, "-c", CODE.format(keeps=keeps)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == f"{not keeps}\n"
