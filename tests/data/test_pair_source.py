import numpy as np
import pytest
from support import write

from segdla.data.labels import IdEncoding
from segdla.data.pair_source import PairSource
from segdla.data.scenes import Scenes
from segdla.data.source import (
    Classes,
    SizesDifferError,
    UnknownLabelsError,
    UnreadableImageError,
    UnreadableMaskError,
)
from segdla.errors import UserError

IMAGE, MASK = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8)


def source(*pairs, train_ids=None, **kwargs):
    return PairSource(pairs, Classes(("a",), ((0, 0, 0),)), IdEncoding(train_ids or {0: 0}), **kwargs)


@pytest.fixture
def pair(tmp_path):
    write(tmp_path / "i.png", IMAGE)
    write(tmp_path / "m.png", MASK)
    return tmp_path / "i.png", tmp_path / "m.png"


def test_sizes_must_agree(pair):
    write(pair[1], MASK[:, :5])
    with pytest.raises(SizesDifferError, match=r"i\.png is 4x6 .*m\.png is 4x5"):
        source(pair).read(0)


def test_a_mask_on_its_side_hints_at_exif(pair):
    write(pair[1], MASK.T)
    with pytest.raises(SizesDifferError, match="EXIF orientation"):
        source(pair).read(0)


def test_errors_tell_the_image_from_the_mask_and_its_labels(pair):
    image, mask = pair
    write(mask, MASK + 7)
    for read in (source(pair).read, source(pair).target):
        with pytest.raises(UnknownLabelsError, match=r"m\.png: label id 7"):
            read(0)
    mask.write_bytes(b"")
    for read in (source(pair).read, source(pair).target):
        with pytest.raises(UnreadableMaskError, match=r"m\.png is not an image"):
            read(0)
    image.unlink()
    with pytest.raises(UnreadableImageError, match=r"cannot read .*i\.png"):
        source(pair).read(0)


def test_a_target_needs_no_image(pair):
    pair[0].unlink()
    np.testing.assert_array_equal(source(pair).target(0), MASK)


def test_files_are_the_pair(pair):
    assert source(pair).files(0) == pair


def test_names_are_stems_or_if_these_collide_paths(tmp_path):
    def names(*images):
        return source(*((tmp_path / image, tmp_path / "m.png") for image in images)).names

    assert names("x/1.png", "y/2.jpg") == ["1", "2"]
    assert names("set/x/1.png", "set/y/1.jpg", "set/y/2.jpg") == ["x/1", "y/1", "y/2"]


def test_joined_sources_have_the_images_of_both_under_names_of_their_own(tmp_path, pair):
    for split, grey in (("train", 10), ("val", 20)):
        write(tmp_path / split / "1.png", np.full_like(IMAGE, grey))
    both = source((tmp_path / "train" / "1.png", pair[1])).joined(source((tmp_path / "val" / "1.png", pair[1])))
    assert both.names == ["train/1", "val/1"]
    assert [both.read(i)[0][0, 0, 0] for i in range(2)] == [10, 20]


def test_sources_of_different_labels_are_not_joined(tmp_path):
    train = source((tmp_path / "i.png", tmp_path / "labelIds.png"))
    val = source((tmp_path / "i.png", tmp_path / "trainIds.png"), train_ids={0: 1})
    with pytest.raises(UserError, match=r"labelIds\.png and .*trainIds\.png hold different kinds of labels"):
        train.joined(val)


def test_files_are_not_joined_with_another_kind_of_source(pair):
    with pytest.raises(UserError, match=r"can't be joined with a Scenes; leave data\.train_on_val out"):
        source(pair).joined(Scenes("val", 2, (32, 48)))
