import numpy as np
import pytest
from scipy import stats

from segdla.evaluation.image_counts import ImageCounts, difference, intervals


def counts(hits, truth, predicted, groups=None):
    names = tuple(f"image {index}" for index in range(len(hits)))
    return ImageCounts(
        names,
        names if groups is None else tuple(groups),
        *(np.asarray(values, np.int64) for values in (hits, truth, predicted)),
    )


def draw(random, images):
    """Counts of images that are hard or easy each, with four classes, the last of them rare."""
    shape = (images, 4)
    truth = random.gamma(1.5, 1000, shape) * (random.random(shape) < (1, 1, 0.7, 0.4))
    skill = random.normal(1.2, 0.8, (images, 1)) + random.normal((0.5, 0, -0.5, -0.8), 0.8, shape)
    hits = truth / (1 + np.exp(-skill))
    misses = (truth - hits).sum(1, keepdims=True)
    return counts(hits, truth, hits + misses * random.dirichlet(np.ones(4), images))


def test_an_image_scores_its_own_classes():
    images = counts([[3, 0, 0], [1, 0, 0]], [[4, 0, 2], [1, 0, 0]], [[5, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(images.iou, [[0.5, np.nan, 0], [1, np.nan, np.nan]])
    np.testing.assert_array_equal(images.mean_iou, [0.25, 1])
    np.testing.assert_array_equal(images.scores(), [4 / 7, np.nan, 0, 2 / 7])


def test_each_group_is_left_out_in_turn():
    images = counts([[2], [1], [4]], [[2], [2], [4]], [[2], [1], [8]], "aba")
    np.testing.assert_array_equal(images.left_out(), [[0.5, 0.5], [0.6, 0.6]])


def test_with_equal_unions_the_interval_is_students():
    """Then the IoU is the mean of the images' own, whose standard error is known."""
    hits = np.random.default_rng(0).integers(400, 600, (40, 1))
    images = counts(hits, np.full_like(hits, 1000), hits)
    low, high = intervals(images)[0]
    expected = stats.t.interval(0.95, 39, hits.mean() / 1000, stats.sem(hits[:, 0]) / 1000)
    assert (low, high) == pytest.approx(expected, abs=1e-4)  # logits bend the scale a little


@pytest.mark.parametrize("images", [20, 60])
def test_95_of_100_intervals_hold_the_truth(images):
    random = np.random.default_rng(0)
    truth = draw(random, 200_000).scores()
    covered = []
    for _ in range(1000):
        sample = draw(random, images)
        low, high = intervals(sample).T
        covered.append((low <= truth) & (truth <= high))
    share = np.mean(covered)  # of classes and means; independent ones would scatter by 0.3 %
    assert share == pytest.approx(0.95, abs=0.01)


def test_alike_images_make_a_score_less_sure():
    """Each image four times is no more than each image once."""
    once = draw(np.random.default_rng(0), 30)
    columns = [np.repeat(values, 4, 0) for values in (once.hits, once.truth, once.predicted)]
    by_four = intervals(counts(*columns, [str(index // 4) for index in range(120)]))
    np.testing.assert_allclose(by_four, intervals(once))
    assert (np.ptp(intervals(counts(*columns)), 1) < 0.6 * np.ptp(by_four, 1)).all()


def test_there_is_no_interval_of_few_images_or_of_nothing():
    few = draw(np.random.default_rng(0), 9)
    assert np.isnan(intervals(few)).all()
    sure = counts(np.full((20, 2), (5, 0)), np.full((20, 2), (5, 0)), np.full((20, 2), (5, 0)))
    assert np.isnan(intervals(sure)).all()


def test_a_network_does_not_differ_from_itself_and_does_from_a_better_one():
    first = draw(np.random.default_rng(0), 50)
    same = difference(first, first)
    np.testing.assert_array_equal(same.difference, 0)
    np.testing.assert_array_equal(same.low, 0)
    np.testing.assert_array_equal(same.probability, 1)
    better = counts(first.hits + (first.truth - first.hits) // 2, first.truth, first.predicted)
    clear = difference(first, better)
    assert (clear.low > 0).all() and (clear.probability < 1e-6).all()


def test_a_difference_by_chance_is_rarely_taken_for_one():
    """Two equally good networks on the same images: 5 of 100 differ with a probability below 5 %."""
    random = np.random.default_rng(0)
    probabilities = []
    for _ in range(500):
        hard = draw(random, 40)
        one, other = (counts(hard.hits * random.beta(20, 2, hard.hits.shape), hard.truth, hard.predicted) for _ in "12")
        probabilities.append(difference(one, other).probability[-1])
    assert np.mean(np.array(probabilities) < 0.05) == pytest.approx(0.05, abs=0.025)
