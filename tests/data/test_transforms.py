import itertools
import subprocess
import sys

import cv2
import numpy as np
import pytest
from support import photo

from segdla.data.labels import IGNORE_INDEX
from segdla.data.transforms import TrainingTransform, colored
from segdla.errors import UserError


def pattern(height=48, width=64):
    """An image whose red channel is 20 times the class in the mask, in 8-pixel blocks of classes 1..4."""
    rows, columns = np.mgrid[:height, :width] // 8
    mask = (1 + (rows * 3 + columns) % 4).astype(np.uint8)
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 20 * mask
    return image, mask


def transform(crop=(40, 48), scale=(1.0, 1.0), rotate=0.0, flip=0.0, jitter=0.0, extra=(), num_values=5):
    return TrainingTransform(crop, scale, rotate, flip, jitter, extra=extra, num_values=num_values)


def test_albumentations_are_imported_when_they_are_asked_for():
    code = """
import sys
from segdla.data.transforms import TrainingTransform
for extra in ((), ({"GaussianBlur": None},)):
    TrainingTransform((8, 8), (1.0, 1.0), 0.0, 0.0, 0.0, extra=extra)
    print("albumentations" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_unscaled_crop_is_a_copy():
    image, mask = pattern()
    for seed in range(10):
        crop, target = transform()(image, mask, seed)
        assert crop.shape == (40, 48, 3) and crop.dtype == np.uint8
        places = [(y, x) for y in range(9) for x in range(17) if np.array_equal(image[y : y + 40, x : x + 48], crop)]
        assert places
        assert any(np.array_equal(mask[y : y + 40, x : x + 48], target) for y, x in places)


def test_whole_image_flipped_is_the_mirror_image():
    image, mask = pattern()
    crop, target = transform(crop=(48, 64), flip=1.0)(image, mask, 0)
    np.testing.assert_array_equal(crop, image[:, ::-1])
    np.testing.assert_array_equal(target, mask[:, ::-1])


@pytest.mark.parametrize("seed", range(8))
def test_image_and_mask_stay_aligned(seed):
    image, mask = pattern()
    crop, target = transform(scale=(0.7, 1.8), rotate=20, flip=0.5)(image, mask, seed)
    labelled = target != IGNORE_INDEX
    # Away from the blocks' edges, where the image is interpolated and the mask is not, one tells the other.
    inside = labelled & (crop[..., 0] % 20 == 0) & (crop[..., 0] > 0)
    assert inside.sum() > 0.35 * labelled.sum()
    agreement = (crop[..., 0] // 20 == target)[inside].mean()
    assert agreement > 0.93  # interpolation between classes 1 and 3 can look like class 2


@pytest.mark.parametrize("seed", range(8))
def test_no_new_label_ids_and_ignored_outside(seed):
    image, mask = pattern()
    _, target = transform(crop=(96, 96), scale=(0.5, 1.0), rotate=15, flip=0.5)(image, mask, seed)
    assert set(np.unique(target)) <= {1, 2, 3, 4, IGNORE_INDEX}
    assert IGNORE_INDEX in target


def test_image_is_reflected_outside():
    image = np.full((20, 20, 3), 90, np.uint8)
    crop, target = transform(crop=(32, 32))(image, np.zeros((20, 20), np.uint8), 0)
    assert (crop == 90).all()
    assert (target == 0).sum() == 400
    assert (target == IGNORE_INDEX).sum() == 32 * 32 - 400


def test_scaling_keeps_centres():
    # A magnification by 2 of two pixels has its edge in the middle: pixel corners, not centres, are the frame.
    image = np.zeros((2, 2, 3), np.uint8)
    mask = np.array([[1, 2], [1, 2]], np.uint8)
    _, target = transform(crop=(4, 4), scale=(2.0, 2.0))(image, mask, 0)
    np.testing.assert_array_equal(target, [[1, 1, 2, 2]] * 4)


def test_half_the_size_is_the_mean_of_four():
    image = np.arange(0, 128, 2, dtype=np.uint8).reshape(8, 8, 1).repeat(3, 2)
    crop, target = transform(crop=(4, 4), scale=(0.5, 0.5))(image, image[..., 0], 0)
    np.testing.assert_array_equal(crop[..., 0], (image[::2, ::2, 0] + image[1::2, 1::2, 0]) / 2)
    assert set(np.unique(target - crop[..., 0].astype(int))) <= {-9, -7, 7, 9}  # one of the four


def test_colours_change_as_by_one_step_after_the_other():
    image = photo(240, 300, 3) // 4 + 90  # far from black and white, where a single step would clip
    luma = np.array([0.299, 0.587, 0.114])

    def brighter(x):
        return 1.3 * x

    def flatter(x):
        return 0.7 * x + 0.3 * (x @ luma).mean()

    def greyer(x):
        return 0.6 * x + 0.4 * (x @ luma)[..., None]

    for steps in itertools.permutations((brighter, flatter, greyer)):
        expected = image.astype(float)
        for step in steps:
            expected = step(expected)
        assert np.abs(colored(image, brightness=1.3, contrast=0.7, saturation=0.6) - expected).max() < 1.2


def test_what_becomes_too_bright_is_white_and_too_dark_is_black():
    image = np.full((4, 4, 3), (0, 128, 255), np.uint8)
    np.testing.assert_array_equal(colored(image, 1.4, 1.0, 1.4)[0, 0, [0, 2]], [0, 255])


def test_same_seed_same_crop_other_seed_other_crop():
    image, mask = pattern()
    draw = transform(scale=(0.5, 2), rotate=10, flip=0.5, jitter=0.4)
    first, again, other = draw(image, mask, 7), draw(image, mask, 7), draw(image, mask, 8)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_further_geometry_uncovers_what_is_ignored():
    image, mask = pattern()
    _, target = transform(crop=(48, 64), extra=[{"Rotate": {"limit": [30, 30], "p": 1}}])(image, mask, 0)
    assert set(np.unique(target)) == {1, 2, 3, 4, IGNORE_INDEX}


@pytest.mark.parametrize(
    "extra", [{"Normalize": {}}, {"Transpose": {"p": 1}}, {"CenterCrop": {"height": 8, "width": 8}}]
)
def test_albumentations_that_change_size_or_type_are_refused(extra):
    with pytest.raises(UserError, match="keep its size"):
        transform(extra=[extra])(*pattern(), 0)


def test_albumentations_that_ask_for_more_are_refused():
    with pytest.raises(UserError, match=r"transforms can't be applied to a crop .* CropSizeError"):
        transform(extra=[{"RandomCrop": {"height": 600, "width": 600}}])(*pattern(), 0)


@pytest.mark.parametrize("fill", [0, 3, 4, 255])
def test_a_mask_may_be_filled_with_a_class(fill):
    image, mask = pattern()
    dropout = {"CoarseDropout": {"fill_mask": fill, "p": 1}}
    _, target = transform(extra=[{"HorizontalFlip": {"p": 1}}, dropout])(image, mask, 0)
    assert fill in target and set(np.unique(target)) <= {1, 2, 3, 4, fill}


def test_labels_that_a_transform_makes_up_are_named_with_it():
    image, mask = pattern()
    mask[mask < 4] = 1
    blending = {"Rotate": {"limit": [30, 30], "mask_interpolation": cv2.INTER_LINEAR, "p": 1}}
    with pytest.raises(UserError, match=r"transforms: Rotate wrote the train id [23] into a crop that had none"):
        transform(crop=(48, 64), extra=[{"GaussianBlur": {}}, blending])(image, mask, 0)


def test_further_albumentations_by_name():
    image, mask = pattern()
    inverted, target = transform(crop=(48, 64), extra=[{"InvertImg": {"p": 1}}])(image, mask, 0)
    np.testing.assert_array_equal(inverted, 255 - image)
    np.testing.assert_array_equal(target, mask)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"GausianBlur": {}}, "did you mean GaussianBlur"),
        ({"GaussianBlur": {"strength": 3}}, "strength"),
        ({"GaussianBlur": {"p": 7}}, "does not take"),
        ({"Compose": {}}, "no transform of images 'Compose'"),
        ({"BasicTransform": {}}, "no transform of images 'BasicTransform'"),
        ({"ImageOnlyTransform": {}}, "no transform of images 'ImageOnlyTransform'"),
        ({"DualTransform": {}}, "no transform of images 'DualTransform'"),
        ({"Transform3D": {}}, "no transform of images 'Transform3D'"),
        ({"x" * 100_000: {}}, r"no transform of images 'x{30,130}\.\.\."),
        ({"GaussianBlur": {"blur_limit": [3] * 100_000}}, r"^.{0,600}$"),
        ({"CoarseDropout": {"fill_mask": 250}}, r"CoarseDropout fills masks with 250, which is no label \(0 to 4\)"),
        ({"Rotate": {"fill_mask": 5}}, "Rotate fills masks with 5"),
        ({"GridDropout": {"fill_mask": -1}}, "GridDropout fills masks with -1"),
    ],
    ids=str,
)
def test_wrong_albumentations_are_refused(extra, message):
    with pytest.raises(UserError, match=message):
        transform(extra=[extra])


def test_balanced_crops_show_the_rare_class():
    image = np.zeros((64, 96, 3), np.uint8)
    mask = np.zeros((64, 96), np.uint8)
    mask[:4] = 255
    mask[40:44, 70:74] = 1
    balanced = TrainingTransform((16, 16), (0.5, 2.0), 0, 0.5, 0, balance=1.0)
    even = TrainingTransform((16, 16), (0.5, 2.0), 0, 0.5, 0)
    seen = [sum((cut(image, mask, seed)[1] == 1).any() for seed in range(200)) for cut in (balanced, even)]
    assert 80 < seen[0] < 140  # half of the crops are centred on it, and a few more happen to show it
    assert seen[1] < 40


def test_balanced_crops_of_an_image_without_labels():
    mask = np.full((20, 30), 255, np.uint8)
    _, target = TrainingTransform((16, 16), (1, 1), 0, 0, 0, balance=1.0)(np.zeros((20, 30, 3), np.uint8), mask, 0)
    assert (target == 255).all()
