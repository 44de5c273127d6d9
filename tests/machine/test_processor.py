"""Which processors compute faster in bf16 than in float32."""

import pytest
import torch

from segdla.machine import processor

XEON, EPYC = "Intel(R) Xeon(R) Processor", "AMD EPYC 9R14"


@pytest.mark.parametrize(
    ("capability", "name", "has_instructions", "has_amx", "expected"),
    [
        ("AVX2", EPYC, False, False, False),
        ("AVX512", XEON, False, False, False),
        ("AVX512", XEON, True, False, False),
        ("AVX512", XEON, True, True, True),
        ("AVX512", EPYC, True, False, True),
        ("AVX2", EPYC, True, False, False),  # by ATEN_CPU_CAPABILITY
        ("SVE256", "Neoverse-V1", False, False, True),
    ],
)
def test_bf16_is_fast_with_amx_and_on_amd(capability, name, has_instructions, has_amx, expected, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    monkeypatch.setattr(processor, "processor_name", lambda: name)
    assert processor.has_fast_bf16() == expected


def test_the_processor_has_a_name():
    assert processor.processor_name()
