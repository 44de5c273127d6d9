from types import MappingProxyType

import pytest
import torch

from segdla.export.graph import Exported
from segdla.export.verify import Difference, difference_table, differences, int8_arithmetic, pictures


def test_a_difference_is_small_up_to_a_thousandth():
    assert Difference((10, 100), logits=0.01, largest=10, differing=1, pixels=1000).is_small
    assert not Difference((10, 100), logits=0.011, largest=10, differing=1, pixels=1000).is_small
    assert not Difference((10, 100), logits=0.01, largest=10, differing=2, pixels=1000).is_small
    assert not Difference((10, 100), logits=float("nan"), largest=10, differing=0, pixels=1000).is_small


def test_differences_are_counted(network, card):
    def shifted(images):
        logits = network.logits(images)
        logits[:, 0] += 100  # one class is everywhere
        return logits

    image = pictures(((20, 31),))[0]
    exported = Exported(shifted, network.output_stride, "fp32", card, torch.device("cpu"))
    (difference,) = differences(network, exported, [image])
    with torch.inference_mode():
        others = int((network(image).argmax(1) != 0).sum())
    assert difference.logits == pytest.approx(100, rel=1e-6)
    assert (difference.size, difference.differing, difference.pixels) == ((20, 31), others, 620)


def test_a_table_has_a_row_for_each_image():
    table = difference_table([Difference((20, 31), 0.0123, 4.5678, 7, 620)])
    assert [list(column.cells) for column in table.columns] == [["20x31"], ["0.012"], ["4.57"], ["7 of 620 pixels"]]


@pytest.mark.parametrize(
    ("capabilities", "name"),
    [
        ({"avx2": True, "avx512_f": False, "avx512_vnni": False, "avx_vnni": False}, "AVX2 without VNNI"),
        ({"avx2": True, "avx512_f": False, "avx_vnni": True}, "AVX2 with VNNI"),
        ({"avx2": True, "avx512_f": True, "avx512_vnni": True, "amx_int8": True}, "AVX-512 with VNNI"),
        ({"avx2": True, "avx512_f": True, "avx512_vnni": False}, "AVX-512 without VNNI"),
        ({"neon": True, "architecture": "aarch64"}, "aarch64"),
    ],
)
def test_the_processors_arithmetic_is_named(monkeypatch, capabilities, name):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MappingProxyType(capabilities), raising=False)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert int8_arithmetic() == name


def test_a_torch_that_does_not_tell_is_no_failure(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert int8_arithmetic() == "x86_64"
