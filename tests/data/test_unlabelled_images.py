"""Images without masks beside a labelled source."""

import numpy as np
import pytest
from PIL import Image

from segdla.data.cache import CachedSource
from segdla.data.class_weights import count_pixels
from segdla.data.labels import UNLABELLED
from segdla.data.scenes import Scenes
from segdla.data.source import UnreadableImageError
from segdla.data.unlabelled_images import WithUnlabelled, unlabelled_images

RGB = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "more").mkdir()
    Image.fromarray(RGB).save(tmp_path / "more" / "scene 0.png")
    (tmp_path / "more" / "scene 1.png").write_bytes(b"broken")
    scenes = Scenes("train", 2, (32, 48))
    return WithUnlabelled(scenes, unlabelled_images(str(tmp_path / "more"), scenes.classes))


def test_unlabelled_images_follow_the_labelled_ones_with_no_pixel_labelled(source):
    assert len({source.name(index) for index in range(len(source))}) == len(source) == 4
    for of_view, of_scenes in zip(source.read(1), source.source.read(1), strict=True):
        np.testing.assert_array_equal(of_view, of_scenes)
    image, target = source.read(2)
    np.testing.assert_array_equal(image, RGB)
    assert target.shape == (4, 6) and (target == UNLABELLED).all()
    np.testing.assert_array_equal(source.target(2), target)


def test_few_labelled_images_come_as_often_as_many_others(source):
    many = source.parts[1]
    many.images, many.names = many.images[:1] * 5, [*"abcde"]
    both = WithUnlabelled(source.source, many)
    assert both.repeats == 2 and len(both) == 2 * 2 + 5  # 5 / 2 is rounded to the even number
    names = [both.name(index) for index in range(len(both))]
    assert names == ["train_00000", "train_00001"] * 2 + [f"unlabelled/{letter}" for letter in "abcde"]


def test_each_labelled_image_is_counted_once(source, tmp_path):
    many = source.parts[1]
    many.images, many.names = many.images[:1] * 5, [*"abcde"]
    both = WithUnlabelled(source.source, many)
    for view in (both, CachedSource(both, tmp_path / "cache")):
        for counted, of_labelled in zip(count_pixels(view), count_pixels(source.source), strict=True):
            np.testing.assert_array_equal(counted, of_labelled)


def test_a_broken_one_is_named(source):
    with pytest.raises(UnreadableImageError, match=r"scene 1\.png"):
        source.read(3)


def test_they_are_cached_like_others(source, tmp_path):
    unlabelled = source.parts[1]
    unlabelled.images.pop()
    cache = CachedSource(unlabelled, tmp_path / "cache")
    assert cache.build() == []
    for cached, read in zip(cache.read(0), unlabelled.read(0), strict=True):
        np.testing.assert_array_equal(cached, read)
