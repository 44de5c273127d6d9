import random

import numpy as np
import pytest
import torchvision.transforms as theirs
from PIL import Image
from support import photo

from segdla.data.whole_images.crops import CentreCrop, RandomResizedCrop

TARGET = np.zeros((1, 1), np.int16)


SIZES = [((90, 70), "bilinear"), ((71, 133), "bicubic"), ((20, 31), "bicubic")]


@pytest.mark.parametrize(("size", "interpolation"), SIZES)
def test_the_centre_is_torchvision_s(size, interpolation):
    image = photo(*size)
    resize = theirs.Resize(48, theirs.InterpolationMode(interpolation))
    expected = theirs.CenterCrop((40, 36))(resize(Image.fromarray(image)))
    crop, target = CentreCrop((40, 36), 48, interpolation)(image, TARGET)
    assert np.array_equal(crop, np.asarray(expected)) and target is TARGET


def test_a_random_crop_follows_from_its_seed():
    crop, image = RandomResizedCrop((24, 32), (0.1, 1), (0.75, 1.33), 0.5, 0.4), photo(80, 60)
    one, again, other = (crop(image, TARGET, seed)[0] for seed in (1, 1, 2))
    assert one.shape == (24, 32, 3) and one.dtype == np.uint8
    assert np.array_equal(one, again) and not np.array_equal(one, other)


@pytest.mark.parametrize("size", [(80, 60), (300, 10), (10, 300), (1, 1)])
def test_rectangles_are_inside_and_have_the_area_and_the_ratio(size):
    crop, draw = RandomResizedCrop((8, 8), (0.2, 0.5), (0.75, 1.3), 0, 0), random.Random(0)
    for _ in range(50):
        top, left, height, width = crop.rectangle(size, draw)
        assert 0 <= top <= top + height <= size[0] and 0 <= left <= left + width <= size[1]
        assert min(height, width) > 0
        if size == (80, 60):
            assert 0.18 < height * width / 4800 < 0.52 and 0.72 < width / height < 1.35


def test_further_transforms_change_the_image_alone():
    image = photo(40, 40)
    crop = RandomResizedCrop((16, 16), (1, 1), (1, 1), 0, 0, [{"InvertImg": {"p": 1}}])
    plain = RandomResizedCrop((16, 16), (1, 1), (1, 1), 0, 0)
    assert np.array_equal(crop(image, TARGET, 0)[0], 255 - plain(image, TARGET, 0)[0])
