import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdla.data.annotations.rasterize import draw
from segdla.data.annotations.shapes import Patch, Shape, ring
from segdla.errors import UserError

SIZE = (6, 8)
BOX = [[1, 1], [5, 1], [5, 4], [1, 4]]


def drawn(*shapes, ids=None, size=SIZE, smaller_on_top=False):
    target = np.zeros(size, np.uint8)
    draw(target, shapes, ids or {"a": 1, "b": 2}, smaller_on_top)
    return target


def polygon(*parts, label="a", crowd=False):
    """A shape of parts, each an outline or a list of an outline and holes."""
    rings = [part if isinstance(part[0][0], list | tuple) else [part] for part in parts]
    return Shape(label, tuple(tuple(ring(one, "here") for one in part) for part in rings), is_crowd=crowd)


def is_inside(corners, x, y):
    """Count the edges left of a point, all in whole numbers; an edge has its upper end, and what is on it is inside."""
    odd = False
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y0 <= y) != (y1 <= y):
            side = (x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)
            odd ^= side * (1 if y1 > y0 else -1) >= 0
    return odd


coordinate = st.integers(-12, 44).map(lambda i: i / 4)  # centres and edges of pixels, beyond the frame too
outline = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=8)


@settings(max_examples=60, deadline=None)
@given(outline)
def test_a_pixel_belongs_to_a_polygon_if_its_centre_does(corners):
    quarters = [(round(4 * x), round(4 * y)) for x, y in corners]
    truth = [[is_inside(quarters, 4 * x + 2, 4 * y + 2) for x in range(SIZE[1])] for y in range(SIZE[0])]
    np.testing.assert_array_equal(drawn(polygon(corners)), truth)
    np.testing.assert_array_equal(drawn(polygon(corners[::-1])), truth)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 8), st.floats(0, 6)), min_size=3, max_size=3), st.floats(0, 8), st.floats(0, 6))
def test_triangles_around_a_point_share_no_pixel_and_leave_none_out(corners, x, y):
    parts = [polygon([corners[i], corners[(i + 1) % 3], (x, y)]) for i in range(3)]
    odd = sum(drawn(part) for part in parts) % 2  # outside, the point's triangles overlap in twos
    np.testing.assert_array_equal(odd, drawn(polygon(corners)))


def test_a_box_by_hand():
    expected = np.zeros(SIZE, np.uint8)
    expected[1:4, 1:5] = 1
    np.testing.assert_array_equal(drawn(polygon(BOX)), expected)
    np.testing.assert_array_equal(drawn(polygon(np.add(BOX, 0.5).tolist())), expected)  # centres on all four sides
    np.testing.assert_array_equal(drawn(polygon(np.add(BOX, 0.51).tolist()))[2:5, 2:6], np.ones((3, 4)))


def test_holes_parts_crossings_and_what_is_out_of_frame():
    hole = [[2, 2], [4, 2], [4, 3], [2, 3]]
    assert drawn(polygon([BOX, hole])).sum() == 12 - 2
    assert drawn(polygon(BOX, [[4, 3], [8, 3], [8, 6], [4, 6]])).sum() == 12 + 12 - 1  # parts are joined
    bow = drawn(polygon([[0, 0], [8, 6], [8, 0], [0, 6]]))
    assert bow[3, 0] == bow[3, 7] == 1 and bow[0, 4] == bow[5, 4] == 0
    assert drawn(polygon([[-100, -100], [100, -100], [100, 100], [-100, 100]])).all()
    assert not drawn(polygon([[20, 20], [30, 20], [30, 30]])).any()
    assert not drawn(polygon([[1, 1], [7, 1], [3, 1]])).any()  # of no area


def test_later_shapes_lie_over_earlier_ones_or_smaller_over_larger():
    small, large = polygon([[1, 1], [3, 1], [3, 3], [1, 3]], label="b"), polygon(BOX)
    assert (drawn(large, small) == 2).sum() == 4
    assert (drawn(small, large) == 2).sum() == 0
    np.testing.assert_array_equal(drawn(small, large, smaller_on_top=True), drawn(large, small))
    same = polygon(BOX, label="b")
    np.testing.assert_array_equal(drawn(large, same, smaller_on_top=True), drawn(same))  # order breaks the tie


def test_crowds_are_ignored_below_everything_else():
    crowd = polygon([[0, 0], [8, 0], [8, 6], [0, 6]], crowd=True)
    target = drawn(polygon(BOX), crowd)
    assert (target == 1).sum() == 12 and (target == 255).sum() == 36


def test_masks_are_drawn_in_their_turn():
    mask = Shape("b", mask=lambda size: Patch(2, 3, np.array([[True, False, True]])))
    assert drawn(polygon(BOX), mask)[2].tolist() == [0, 1, 1, 2, 1, 2, 0, 0]
    assert (drawn(mask, polygon(BOX)) == 2).sum() == 1
    assert (drawn(mask, polygon(BOX), smaller_on_top=True) == 2).sum() == 2


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        ([[0, 0], [1, 1]], "here has 2 corners, and a polygon has three or more"),
        ([], "here has 0 corners"),
        ([[0, 0], [1, 1], [float("nan"), 2]], r"here has a corner at \[nan, 2.0\], which is far outside any image"),
        ([[0, 0], [1e300, 1], [2, 2]], r"a corner at \[1e\+300, 1.0\]"),
        ([[0, 0], [1], [2, 2]], "not a list of corners"),
        ([["a", "b"]] * 3, "not a list of corners"),
        ("text", "not a list of corners"),
    ],
)
def test_what_is_no_outline(corners, message):
    with pytest.raises(UserError, match=message):
        ring(corners, "here")
