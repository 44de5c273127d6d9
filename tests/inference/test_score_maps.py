import pytest
import torch
import torch.nn.functional as F

from segdla.inference.placement import Mirror, Resize, Window
from segdla.inference.score_maps import MapList, RunningSum, ScoreMap, classify, grain, strips

VALUES = torch.randn(2, 5, 40, 35, generator=torch.Generator().manual_seed(0))


def at_full_size(score_map):
    """The map's values (B,C,H,W) on its image."""
    return torch.cat([score_map.strip(top, bottom) for top, bottom in strips(score_map, 0, score_map.size[0])], dim=2)


def doubled():
    return ScoreMap(VALUES, (78, 70), (Resize(40, 80),), (Resize(35, 70),))  # the image is padded by two rows


def test_strips_are_rows_of_the_image():
    expected = F.interpolate(VALUES, size=(80, 70), mode="bilinear", align_corners=False)[:, :, :78]
    torch.testing.assert_close(at_full_size(doubled()), expected)
    torch.testing.assert_close(at_full_size(doubled().mirrored()), expected.flip(-1))


def test_a_map_of_a_map_holds_its_probabilities():
    torch.testing.assert_close(at_full_size(ScoreMap(doubled(), (78, 70))), at_full_size(doubled()).softmax(1))


def test_a_map_fills_its_width_if_only_its_own_columns_are_resized():
    assert doubled().fills_its_width and doubled().resized((39, 35)).fills_its_width
    assert not ScoreMap(VALUES, (80, 69), (Resize(40, 80),), (Resize(35, 70),)).fills_its_width  # one column is padding
    assert not ScoreMap(doubled(), (78, 70)).fills_its_width
    assert not doubled().mirrored().fills_its_width


def test_the_span_of_a_window_is_its_rows():
    rows = Window((0, 20), 78, 58, 1)
    assert doubled().placed(rows, Mirror(70), (98, 70)).span == (20, 98)
    assert doubled().span == (0, 78)


@pytest.mark.parametrize("kind", [RunningSum, MapList])
def test_sums_are_decided_from_the_top(kind):
    sums = kind(lambda total: total.clone())
    sums.add(doubled())
    sums.add(doubled().mirrored())
    until = 2 * grain(torch.device("cpu"))[0]
    parts = [sums.decide(until), sums.decide(78)]
    torch.testing.assert_close(torch.cat(parts, dim=2), at_full_size(doubled()) + at_full_size(doubled().mirrored()))
    with pytest.raises(AssertionError, match="are decided"):
        sums.add(doubled())


def test_classify_is_argmax():
    values = torch.randn(2, 7, 150, 6).to(memory_format=torch.channels_last)
    assert torch.equal(classify(values).long(), values.argmax(1))
    assert classify(values).dtype == torch.uint8
