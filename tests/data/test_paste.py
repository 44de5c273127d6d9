import numpy as np

from segdla.data.labels import IGNORE_INDEX
from segdla.data.paste import Paste
from segdla.data.samples import SegmentationDataset
from segdla.data.scenes import Scenes
from segdla.data.transforms import TrainingTransform


def pattern():
    """An image whose red channel is 20 times the class in the mask, in 8-pixel blocks of classes 1..4."""
    rows, columns = np.mgrid[:48, :64] // 8
    mask = (1 + (rows * 3 + columns) % 4).astype(np.uint8)
    image = np.zeros((48, 64, 3), np.uint8)
    image[..., 0] = 20 * mask
    return image, mask


def test_half_of_the_classes_of_another_crop_are_pasted_with_their_pixels():
    image, mask = pattern()
    mask[:, :8] = IGNORE_INDEX
    for seed in range(10):
        under, labels = np.full_like(image, 7), np.zeros_like(mask)
        pasted, target = Paste(1)((under, labels), lambda place: (image, mask), seed)
        classes = set(np.unique(target)) - {0}
        assert len(classes) == 2 and IGNORE_INDEX not in classes
        over = np.isin(mask, list(classes))
        assert np.array_equal(target, np.where(over, mask, 0))
        assert np.array_equal(pasted, np.where(over[..., None], image, 7))


def test_nothing_is_pasted_of_what_has_no_label():
    image, mask = pattern()
    nothing = np.full_like(image, 7), np.full_like(mask, IGNORE_INDEX)
    pasted, target = Paste(1)((image.copy(), mask.copy()), lambda place: nothing, 0)
    assert np.array_equal(pasted, image) and np.array_equal(target, mask)


def test_pasting_has_its_probability_and_draws_evenly():
    image, mask = pattern()
    places = []

    def another(place):
        places.append(place)
        return image, mask

    for seed in range(400):
        Paste(0.25)((image.copy(), mask.copy()), another, seed)
    assert 70 < len(places) < 130
    assert 0.15 < np.mean(np.array(places) < 0.25) < 0.35


def test_what_is_pasted_follows_from_seed_epoch_and_index():
    def target(paste, epoch):
        transform = TrainingTransform((32, 48), (0.5, 2.0), 0.0, 0.5, 0.0)
        return SegmentationDataset(Scenes("train", 8, (32, 48)), transform, paste=paste)[epoch, 1].target

    for epoch in range(3):
        assert target(Paste(1), epoch).equal(target(Paste(1), epoch))
        assert not target(Paste(1), epoch).equal(target(None, epoch))
        assert target(Paste(0), epoch).equal(target(None, epoch))
