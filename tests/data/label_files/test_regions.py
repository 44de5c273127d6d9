import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support import photo

from segdla.data.annotations.rasterize import draw
from segdla.data.annotations.shapes import Shape
from segdla.data.label_files.regions import polygons, without_small

maps = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: arrays(np.uint8, size, elements=st.integers(0, 3))
)
blocks = maps.map(lambda ids: ids.repeat(3, 0).repeat(2, 1))  # straight runs, and corners farther apart


def area(corners):
    """The signed area in a polygon, positive clockwise as an image is seen."""
    x, y = corners.T
    return (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2


def restored(found, size, joined):
    target = np.full(size, 99, np.uint8)
    parts = [((region.joined,) if joined else (region.outline, *region.holes)) for region in found]
    shapes = [Shape(str(region.class_id), (part,)) for region, part in zip(found, parts, strict=True)]
    draw(target, shapes, {str(i): i for i in range(256)}, smaller_on_top=False)
    return target


@settings(max_examples=60, deadline=None)
@given(maps | blocks, st.sampled_from([0, 0.2, 0.5]))
def test_up_to_half_a_pixel_polygons_restore_every_pixel(ids, tolerance):
    found = polygons(ids, tolerance)
    np.testing.assert_array_equal(restored(found, ids.shape, joined=False), ids)
    np.testing.assert_array_equal(restored(found, ids.shape, joined=True), ids)
    np.testing.assert_array_equal(restored(found[::-1], ids.shape, joined=True), ids)  # none lies over another
    assert sum(region.pixels for region in found) == ids.size


@settings(max_examples=40, deadline=None)
@given(maps | blocks, st.sampled_from([0, 0.3, 0.5, 1, 4]))
def test_neighbours_share_their_boundary_and_no_region_vanishes(ids, tolerance):
    found = polygons(ids, tolerance)
    assert len(found) == len(polygons(ids, 0))
    areas = [area(region.outline) + sum(map(area, region.holes)) for region in found]
    assert sum(areas) == pytest.approx(ids.size)  # nothing is left out, or counted twice
    assert min(map(area, (region.outline for region in found))) > 0


def test_a_ring_by_hand():
    ids = np.zeros((5, 6), np.uint8)
    ids[1:4, 1:5] = 7
    ids[2, 2:4] = 0
    ring, *others = sorted(polygons(ids, 0), key=lambda region: -region.class_id)
    assert ring.class_id == 7 and ring.pixels == 10
    assert sorted(map(tuple, ring.outline.tolist())) == [(1, 1), (1, 4), (5, 1), (5, 4)]
    assert [sorted(map(tuple, hole.tolist())) for hole in ring.holes] == [[(2, 2), (2, 3), (4, 2), (4, 3)]]
    assert len(ring.joined) == 4 + 4 + 2 and area(ring.joined) == 10
    assert [(one.pixels, len(one.holes)) for one in others] == [(18, 1), (2, 0)]
    assert [region.class_id for region in polygons(ids, 0, leave=(0,))] == [7]


def test_pixels_that_share_a_corner_alone_are_not_joined():
    assert len(polygons(np.eye(2, dtype=np.uint8), 0)) == 4


def test_a_slope_takes_few_corners():
    rows, columns = np.indices((40, 40))
    ids = (rows > columns).astype(np.uint8)
    corners = {tolerance: len(polygons(ids, tolerance)[0].outline) for tolerance in (0, 0.5)}
    assert corners[0] > 75 and corners[0.5] <= 6


def test_simplified_lines_stay_within_the_tolerance():
    ids = (photo(64, 80)[..., 0] > 128).astype(np.uint8)
    truth, found = polygons(ids, 0), polygons(ids, 1.0)
    assert sum(len(region.outline) for region in found) < sum(len(region.outline) for region in truth)
    wrong = restored(found, ids.shape, joined=False) != ids
    edge = np.zeros_like(wrong)
    edge[1:] |= ids[1:] != ids[:-1]
    edge[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    near = np.lib.stride_tricks.sliding_window_view(np.pad(edge, 2), (5, 5)).any((2, 3))
    assert not (wrong & ~near).any()


def test_small_regions_take_the_class_around_them():
    ids = np.zeros((6, 8), np.uint8)
    ids[:, 5:] = 2
    ids[1, 1], ids[4, 2:4], ids[5, 7] = 1, 1, 255
    kept = without_small(ids, 2)
    assert kept[1, 1] == 0 and (kept[4, 2:4] == 1).all() and kept[5, 7] == 255  # what is ignored stays
    assert without_small(ids, 3)[4, 2] == 0
    assert without_small(ids, 1) is ids
    assert without_small(ids[:, :5], 1000) is not None and (without_small(ids[:1, :1], 9) == 0).all()
