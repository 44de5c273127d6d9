import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segdla.inference.placement import Mirror, Resize, Window, band, starts

CPU = torch.device("cpu")


def whole(chain, inner, outer):
    """The matrix (outer, inner) of a chain, from bands of three rows."""
    matrix = torch.zeros(outer, inner)
    for top in range(0, outer, 3):
        first, last, weights = band(chain, top, min(top + 3, outer), CPU)
        matrix[top : top + len(weights), first:last] = weights
    return matrix


@pytest.mark.parametrize(("inner", "outer"), [(5, 10), (5, 20), (30, 20), (7, 7), (1, 6), (6, 1), (10, 7)])
def test_resize_is_torchs_interpolation(inner, outer):
    x = torch.randn(1, 3, inner)
    expected = F.interpolate(x, size=outer, mode="linear", align_corners=False)
    torch.testing.assert_close(x @ whole((Resize(inner, outer),), inner, outer).T, expected)


def test_a_chain_is_one_placement_after_the_other():
    # 8 rows become 16, of which the image has 14 (the rest is padding), mirrored, resized to 20.
    x = torch.randn(1, 2, 8)
    doubled = F.interpolate(x, size=16, mode="linear", align_corners=False)[..., :14]
    expected = F.interpolate(doubled.flip(-1), size=20, mode="linear", align_corners=False)
    matrix = whole((Resize(8, 16), Mirror(14), Resize(14, 20)), 8, 20)
    torch.testing.assert_close(x @ matrix.T, expected)


def test_windows_start_so_that_they_cover_all():
    assert starts(20, 8, 0.25) == (0, 6, 12)
    assert starts(21, 8, 0.25) == (0, 6, 12, 13)  # pulled back to the edge
    assert starts(8, 8, 0.25) == (0,)


def test_windows_fade_by_hand():
    # Windows of 4 at 0 and 2 over 6 rows, overlapping by 2: in rows 2 and 3 the first falls as 3/4, 1/4.
    weights = [whole((Window((0, 2), 4, 2, index),), 4, 6).sum(1).tolist() for index in (0, 1)]
    assert weights == [[1, 1, 0.75, 0.25, 0, 0], [0, 0, 0.25, 0.75, 1, 1]]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize(("length", "window"), [(20, 8), (21, 8), (9, 9), (17, 1), (100, 33)])
def test_windows_add_up_to_one(overlap, length, window):
    tops = starts(length, window, overlap)
    total = np.zeros(length)
    for index in range(len(tops)):
        total += whole((Window(tops, window, round(window * overlap), index),), window, length).sum(1).numpy()
    np.testing.assert_allclose(total, 1, rtol=1e-6)
