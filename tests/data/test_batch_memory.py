import pytest
import torch

from segdla.data.loader import TrainingKeys, training_batches
from segdla.data.samples import SegmentationDataset
from segdla.data.scenes import Scenes
from segdla.data.transforms import TrainingTransform
from segdla.errors import UserError

STEPS = 24


def stream(workers):
    transform = TrainingTransform((32, 32), (0.5, 2.0), 10, 0.5, 0.4)
    dataset = SegmentationDataset(Scenes("train", 6, (32, 48)), transform, seed=3)
    return training_batches(dataset, TrainingKeys(6, 4, STEPS, seed=3), workers, pin=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_that_are_let_go_of_leave_their_memory_to_others(workers):
    places = {batch.images.data_ptr() for batch in stream(workers)}
    # Two of each worker may be on their way, and in the main process there are five: being fetched, in hand, ready, in
    # use and done with. As a worker has slots of its own, an odd number is one more.
    assert len(places) <= 2 * workers + 6 < STEPS


def test_what_is_kept_of_a_batch_stays_as_it_is():
    expected = list(stream(workers=0))
    kept = [batch.targets[1, 8:16].numpy() for batch in stream(workers=2)]  # nothing else of it
    for batch, part in zip(expected, kept, strict=True):
        assert torch.equal(batch.targets[1, 8:16], torch.from_numpy(part))


def test_batches_outlive_their_stream():
    batches = stream(workers=1)
    first = next(batches)
    batches.close()
    assert torch.equal(first.images, next(stream(workers=0)).images)


class BrokenLater(Scenes):
    def read(self, index):
        if index == 4:
            raise UserError("image 4 is broken")
        return super().read(index)


def test_an_error_within_a_batch_is_the_batch():
    dataset = SegmentationDataset(BrokenLater("train", 6, (32, 48)))
    with pytest.raises(UserError, match=r"^image 4 is broken$"):
        list(training_batches(dataset, TrainingKeys(6, 6, 1, seed=0), workers=1, pin=False))
