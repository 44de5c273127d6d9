"""What is known of the processor."""

import platform
from pathlib import Path

import torch


def processor_name() -> str:
    """Return the processor's name for people."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def has_fast_bf16() -> bool:
    """Return whether the processor computes convolutions faster in bf16 than in float32.

    On x86 it does with AMX, and AMD's with AVX-512's instructions for bf16. A Xeon without AMX has these too, and takes
    1.5 times as long with them as in float32 (``benchmarks/choices.py``). Without either, bf16 is emulated.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    if capability != "AVX512":
        return capability == "SVE256"
    has_instructions = torch.cpu._is_avx512_bf16_supported() and "AMD" in processor_name()
    return torch.cpu._is_amx_tile_supported() or has_instructions
