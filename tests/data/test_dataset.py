import numpy as np
import pytest
from PIL import Image

from segdla.data.dataset import PairSource
from segdla.data.labels import IdEncoding
from segdla.data.scenes import Scenes
from segdla.errors import UserError


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def source(pairs):
    return PairSource(pairs, Scenes.classes, IdEncoding({0: 0}))


def test_sizes_must_agree(tmp_path):
    image = save(tmp_path / "i.png", np.zeros((4, 6, 3), np.uint8))
    mask = save(tmp_path / "m.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(UserError, match=r"i\.png is 4x6 .*m\.png is 4x5"):
        source([(image, mask)]).read(0)


def test_a_mask_lying_on_its_side_hints_at_exif(tmp_path):
    image = save(tmp_path / "i.png", np.zeros((4, 6, 3), np.uint8))
    mask = save(tmp_path / "m.png", np.zeros((6, 4), np.uint8))
    with pytest.raises(UserError, match="EXIF orientation"):
        source([(image, mask)]).read(0)


def test_a_target_needs_no_image(tmp_path):
    mask = save(tmp_path / "m.png", np.zeros((4, 5), np.uint8))
    np.testing.assert_array_equal(source([(tmp_path / "gone.png", mask)]).target(0), np.zeros((4, 5)))


def test_names_are_stems_or_where_these_collide_paths(tmp_path):
    def names(*images):
        return source([(tmp_path / image, tmp_path / "m.png") for image in images]).names

    assert names("x/1.png", "y/2.jpg") == ["1", "2"]
    assert names("set/x/1.png", "set/y/1.jpg", "set/y/2.jpg") == ["x/1", "y/1", "y/2"]


def test_joined_sources_have_the_images_of_both_under_names_of_their_own(tmp_path):
    mask = save(tmp_path / "m.png", np.zeros((4, 6), np.uint8))
    train, val = (
        source([(save(tmp_path / split / "1.png", np.full((4, 6, 3), grey, np.uint8)), mask)])
        for split, grey in (("train", 10), ("val", 20))
    )
    both = train.joined(val)
    assert both.names == ["train/1", "val/1"]
    assert [both.read(i)[0][0, 0, 0] for i in range(2)] == [10, 20]


def test_sources_of_different_labels_are_not_joined(tmp_path):
    train = source([(tmp_path / "i.png", tmp_path / "labelIds.png")])
    val = PairSource([(tmp_path / "i.png", tmp_path / "trainIds.png")], Scenes.classes, IdEncoding({0: 1}))
    with pytest.raises(UserError, match=r"labelIds\.png and .*trainIds\.png hold different kinds of labels"):
        train.joined(val)
