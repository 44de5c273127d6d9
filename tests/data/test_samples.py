import numpy as np
import torch

from segdla.data.samples import Sample, SegmentationDataset
from segdla.data.scenes import Scenes
from segdla.data.source import Source
from segdla.errors import UserError


class Broken(Source):
    """Five images of 8x4, each of its index; that of ``broken`` can't be read."""

    classes = Scenes.classes

    def __init__(self, *broken):
        self.broken = broken

    def __len__(self):
        return 5

    def name(self, index):
        return str(index)

    def read(self, index):
        if index in self.broken:
            raise UserError(f"image {index} is broken")
        return np.full((8, 4, 3), index, np.uint8), np.zeros((8, 4), np.uint8)


def test_a_sample_is_bytes_channels_first():
    source = Scenes("train", 3, (32, 48))
    sample = SegmentationDataset(source)[0, 2]
    assert isinstance(sample, Sample)
    assert sample.image.shape == (3, 32, 48) and sample.image.dtype == torch.uint8
    assert sample.target.shape == (32, 48) and sample.target.dtype == torch.uint8
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0), source.read(2)[0])


def test_another_sample_stands_in_for_an_unreadable_one_and_says_so():
    dataset = SegmentationDataset(Broken(3), stand_ins=1)
    assert dataset[0, 3].name == "4" and dataset[0, 3].unreadable == ("image 3 is broken",)
    assert dataset[0, 4].name == "4" and dataset[0, 4].unreadable == ()


def test_stand_ins_go_on_from_the_start():
    sample = SegmentationDataset(Broken(3, 4), stand_ins=2)[0, 3]
    assert sample.name == "0" and sample.unreadable == ("image 3 is broken", "image 4 is broken")


def test_too_many_unreadable_samples_are_an_error():
    assert str(SegmentationDataset(Broken(*range(5)), stand_ins=2)[0, 1]) == "image 3 is broken"


def test_a_sample_that_can_not_be_read_is_not_pasted_where_samples_may_be_left_out():
    def dataset(stand_ins):
        return SegmentationDataset(
            Broken(3), lambda *pair_and_seed: pair_and_seed[:2], 0, stand_ins, lambda pair, another, seed: another(0.7)
        )

    sample = dataset(stand_ins=1)[0, 1]
    assert sample.name == "1" and sample.unreadable == ()
    assert str(dataset(stand_ins=0)[0, 1]) == "image 3 is broken"


def test_transforms_and_pastes_are_seeded_by_seed_epoch_and_index():
    seeds = []

    def transform(image, target, seed):
        seeds.append(seed)
        return image, target

    def paste(pair, another, seed):
        seeds.append(seed)
        return another(0.5)

    for seed, epoch, index in ((0, 0, 0), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
        sample = SegmentationDataset(Broken(), transform, seed, paste=paste)[epoch, index]
        assert (sample.image == 2).all() and sample.name == str(index)
    assert seeds[:3] == seeds[3:6]
    assert len(set(seeds)) == 12
