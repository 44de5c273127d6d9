import gc
import multiprocessing
import statistics
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
import torch
from support import write

from segdla.data.cache import CachedSource
from segdla.data.folder import folder
from segdla.data.loader import TrainingKeys, WholeImages, training_batches
from segdla.data.samples import SegmentationDataset
from segdla.data.scenes import Scenes
from segdla.data.source import Source
from segdla.data.transforms import TrainingTransform
from segdla.errors import UserError


class OneScene(Scenes):
    """The same picture under every index: only augmentation can tell its samples apart."""

    def read(self, index):
        return super().read(0)


def stream(workers, steps=6, first_step=0):
    transform = TrainingTransform((32, 32), (0.5, 2.0), 10, 0.5, 0.4)
    dataset = SegmentationDataset(OneScene("train", 6, (32, 48)), transform, seed=3)
    keys = TrainingKeys(6, batch_size=4, num_steps=steps, seed=3, first_step=first_step)
    return list(training_batches(dataset, keys, workers, pin=False))


@pytest.fixture(scope="module")
def in_process():
    return stream(workers=0)


@pytest.mark.parametrize("workers", [1, 2])
def test_stream_is_the_same_whatever_the_number_of_workers(in_process, workers):
    for here, there in zip(in_process, stream(workers), strict=True):
        assert here.names == there.names
        assert torch.equal(here.images, there.images)
        assert torch.equal(here.targets, there.targets)


def test_stream_goes_on_from_any_step(in_process):
    for whole, resumed in zip(in_process[4:], stream(workers=0, first_step=4), strict=True):
        assert whole.names == resumed.names
        assert torch.equal(whole.images, resumed.images)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_sample_of_every_epoch_is_augmented_differently(workers):
    # 6 steps of 4 are 4 epochs of 6 samples: 24 draws. Albumentations alone would repeat them in workers and epochs.
    batches = stream(workers)
    crops = {image.numpy().tobytes() for batch in batches for image in batch.images}
    assert len(crops) == 24


def test_a_stream_that_is_left_takes_its_threads_along():
    transform = TrainingTransform((32, 32), (0.5, 2.0), 10, 0.5, 0.4)
    dataset = SegmentationDataset(OneScene("train", 6, (32, 48)), transform)
    before = threading.active_count()
    batches = training_batches(dataset, TrainingKeys(6, 4, 50, seed=3), workers=1, pin=False)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    # A queue of a worker's ends by a thread of its own, which nobody joins: it may take a moment.
    until = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_training_sample_arrives_as_its_own_message(workers):
    batches = training_batches(SegmentationDataset(Broken()), TrainingKeys(5, 1, 10, seed=0), workers, pin=False)
    with pytest.raises(UserError, match=r"^image 3 is broken$"):
        list(batches)


def test_an_unreadable_sample_takes_the_workers_along():
    keys = TrainingKeys(5, 1, 10, seed=0)
    gc.disable()
    try:
        for batches in (
            training_batches(SegmentationDataset(Broken()), keys, workers=1, pin=False),
            iter(WholeImages(SegmentationDataset(Broken()), 1, workers=1, pin=False)),
        ):
            before = set(multiprocessing.active_children())
            with suppress(UserError):
                list(batches)
            del batches
            assert set(multiprocessing.active_children()) <= before
    finally:
        gc.enable()


def test_two_workers_and_a_cache_starve_no_step(tmp_path):
    for index in range(8):
        image, mask = Scenes("train", 8, (96, 128)).read(index)
        write(tmp_path / "i" / f"{index}.png", image)
        write(tmp_path / "m" / f"{index}.png", mask)
    source = folder(tmp_path, Scenes.classes.names, images="i", masks="m")
    dataset = SegmentationDataset(
        CachedSource(source, tmp_path / "cache"), TrainingTransform((64, 64), (0.5, 2.0), 10, 0.5, 0.4)
    )
    batches = training_batches(dataset, TrainingKeys(8, 4, 40, seed=0), workers=2, pin=False)
    waited = []
    for _ in range(35):
        asked = time.perf_counter()
        next(batches)
        waited.append(time.perf_counter() - asked)
        time.sleep(0.04)
    batches.close()
    # After the workers have started; the median, since whatever else runs here makes one or another wait.
    wait = statistics.median(waited[5:])
    assert wait / (wait + 0.04) < 0.02


def test_an_epoch_sees_every_sample_once():
    keys = [key for batch in TrainingKeys(7, batch_size=3, num_steps=7, seed=0) for key in batch]
    assert [epoch for epoch, _ in keys] == [0] * 7 + [1] * 7 + [2] * 7
    for epoch in range(3):
        assert sorted(index for e, index in keys if e == epoch) == list(range(7))
    assert len({tuple(index for e, index in keys if e == epoch) for epoch in range(3)}) == 3


def test_a_batch_larger_than_the_data_set():
    assert [len(batch) for batch in TrainingKeys(2, batch_size=5, num_steps=3, seed=0)] == [5, 5, 5]


@pytest.mark.parametrize(("accumulate", "world_size"), [(2, 1), (1, 3), (2, 3)])
def test_a_step_is_dealt_out_whole_and_without_duplicates(accumulate, world_size):
    dealt = [
        list(TrainingKeys(7, 12, 3, seed=0, accumulate=accumulate, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    for step, whole in enumerate(TrainingKeys(7, 12, 3, seed=0)):
        parts = [keys[accumulate * step : accumulate * (step + 1)] for keys in dealt]
        assert sorted(key for mine in parts for part in mine for key in part) == sorted(whole)
        assert {len(part) for mine in parts for part in mine} == {12 // (accumulate * world_size)}


def test_processes_share_out_whole_images():
    shards = [WholeImages(SegmentationDataset(ManySizes()), 2, 0, False, rank, 2) for rank in range(2)]
    assert [[name for batch in shard for name in batch.names] for shard in shards] == [["0", "2", "4"], ["1", "3"]]


class ManySizes(Source):
    """Images of 8, 8, 9, 9 and 8 rows."""

    classes = Scenes.classes

    def __len__(self):
        return 5

    def name(self, index):
        return str(index)

    def read(self, index):
        height = (8, 8, 9, 9, 8)[index]
        return np.full((height, 4, 3), index, np.uint8), np.zeros((height, 4), np.uint8)


@pytest.mark.parametrize(("batch_size", "expected"), [(1, [1] * 5), (2, [2, 2, 1]), (3, [2, 1, 1, 1])])
def test_evaluation_batches_hold_one_size_and_every_image_once(batch_size, expected):
    images = WholeImages(SegmentationDataset(ManySizes()), batch_size, workers=0, pin=False)
    assert images.num_images == 5
    for _ in range(2):  # and again from the start
        batches = list(images)
        assert [len(batch.images) for batch in batches] == expected
        assert [name for batch in batches for name in batch.names] == list("01234")


class Broken(ManySizes):
    def read(self, index):
        if index == 3:
            raise UserError("image 3 is broken")
        return super().read(index)


class BrokenOfOneSize(Broken):
    def read(self, index):
        return tuple(array[:8] for array in super().read(index))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_sample_arrives_as_its_own_message(workers):
    images = WholeImages(SegmentationDataset(Broken()), 1, workers, pin=False)
    with pytest.raises(UserError, match=r"^image 3 is broken$"):
        list(images)


class Full(Scenes):
    """In a worker, which then has no shared memory."""

    def read(self, index):
        torch.Tensor.share_memory_ = _no_room
        return super().read(index)


def _no_room(_):
    raise RuntimeError("unable to allocate shared memory")


def test_a_lack_of_shared_memory_arrives():
    with pytest.raises(RuntimeError, match="unable to allocate shared memory"):
        list(WholeImages(SegmentationDataset(Full("val", 2, (32, 48))), 1, 1, pin=False))


def test_a_batch_says_which_of_its_samples_stand_in_for_others():
    keys = TrainingKeys(5, 5, 1, seed=0)
    (batch,) = training_batches(SegmentationDataset(BrokenOfOneSize(), stand_ins=1), keys, workers=0, pin=False)
    assert len(batch.images) == 5 and batch.unreadable == ("image 3 is broken",)
