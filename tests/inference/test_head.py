import itertools

import pytest
import torch
import torch.nn.functional as F

from segdla.config import EvalConfig, parse
from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.inference.from_config import Predictor, head_of, num_logits
from segdla.inference.head import SOFTMAX, Overlapping, Sigmoid

TWO = Classes(("ground", "thing"), ((0, 0, 0), (255, 0, 0)))
IMAGES = torch.randint(0, 256, (2, 3, 70, 106), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
EVERY_WAY = list(
    itertools.product(
        ("logprobs", "probs", "logits"), ["whole", (40, 48)], [(1.0,), (0.5, 1.25)], (False, True), (False, True)
    )
)


def one_logit(images):
    """A logit at stride 4 that is now above and now below 0."""
    weights = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    padded = F.pad(images.float() - 127, (0, -images.shape[-1] % 4, 0, -images.shape[-2] % 4), mode="replicate")
    return F.conv2d(padded, weights / 100, stride=4)


def two_logits(images):
    one = one_logit(images)
    return torch.cat([torch.zeros_like(one), one], 1)


def predictors(merge, window, scales, mirrored, low_memory, head, temperature=1.0):
    """The predictor of a head of one logit, and that of softmax over this and 0."""
    settings = EvalConfig(merge=merge, window=window, low_memory=low_memory)
    rest = 4, settings, scales, mirrored, temperature
    return Predictor(one_logit, *rest, head), Predictor(two_logits, *rest, SOFTMAX)


@pytest.mark.parametrize("way", EVERY_WAY, ids=str)
def test_one_logit_predicts_as_softmax_over_it_and_0(way):
    one, two = predictors(*way, Sigmoid(), temperature=1.7)
    class_ids, probabilities = one.both(IMAGES)
    expected, their_probabilities = two.both(IMAGES)
    assert class_ids.dtype == torch.uint8 and len(class_ids.unique()) == 2
    assert (class_ids != expected).sum() <= 2  # at a tie either may win
    torch.testing.assert_close(probabilities, their_probabilities)
    assert torch.equal(class_ids, one.class_ids(IMAGES))
    assert ((one.levels(IMAGES) - 255 * probabilities).abs() <= 0.501).all()


@pytest.mark.parametrize("way", EVERY_WAY, ids=str)
def test_a_threshold_moves_the_ids_and_not_the_probabilities(way):
    shifted, plain = (predictors(*way, Sigmoid(threshold))[0] for threshold in (0.7, 0.5))
    class_ids, probabilities = shifted.both(IMAGES)
    torch.testing.assert_close(probabilities, plain.probabilities(IMAGES))
    clear = (probabilities[:, 1] - 0.7).abs() > 1e-5
    assert torch.equal(class_ids[clear], (probabilities[:, 1] > 0.7).to(torch.uint8)[clear])
    ids, confidence = shifted.ids_and_confidence(IMAGES).unbind(1)
    assert torch.equal(ids, class_ids.float())
    torch.testing.assert_close(confidence, probabilities.gather(1, class_ids[:, None].long())[:, 0])


def config(**overrides):
    values = {"model.head": "sigmoid"} | {key.replace("_", ".", 1): value for key, value in overrides.items()}
    return parse({"data": {"dataset": "scenes"}}, values)


def test_the_threshold_is_the_config_s_else_that_which_was_fitted():
    assert head_of(config(), TWO) == Sigmoid(0.5)
    assert head_of(config(), TWO, (0.2,)) == Sigmoid(0.2)
    assert head_of(config(eval_threshold=0.9), TWO, (0.2,)) == Sigmoid(0.9)
    assert head_of(config(model_head="softmax"), TWO) == SOFTMAX


def test_the_number_of_logits_follows_from_head_and_classes():
    three = Classes(("a", "b", "c"), ((0, 0, 0),) * 3)
    assert num_logits(config(), TWO) == 1
    assert [num_logits(config(model_head="softmax"), classes) for classes in (TWO, three)] == [2, 3]
    with pytest.raises(UserError, match=r"model.head sigmoid is for two classes, .* for 3, set it to softmax"):
        num_logits(config(), three)


def three_logits(images):
    return torch.cat([one_logit(images), -one_logit(images) / 2, one_logit(images.flip(1))], 1)


@pytest.mark.parametrize("way", EVERY_WAY, ids=str)
def test_classes_that_overlap_are_predicted_each_as_if_alone(way):
    merge, window, scales, mirrored, low_memory = way
    rest = 4, EvalConfig(merge=merge, window=window, low_memory=low_memory), scales, mirrored, 1.3
    thresholds = (0.5, 0.4, 0.6)
    together = Predictor(three_logits, *rest, Overlapping(thresholds))
    sets, probabilities = together.both(IMAGES)
    assert sets.dtype == torch.uint8 and len(sets.unique()) > 4
    doubts = []
    for bit, threshold in enumerate(thresholds):
        alone = Predictor(lambda images, bit=bit: three_logits(images)[:, bit : bit + 1], *rest, Sigmoid(threshold))
        ids, both = alone.both(IMAGES)
        torch.testing.assert_close(probabilities[:, bit], both[:, 1])
        assert ((sets >> bit & 1) != ids).sum() <= 2  # sums of batches of another size are rounded otherwise
        doubts.append(torch.where((sets >> bit & 1) == 1, probabilities[:, bit], 1 - probabilities[:, bit]))
    same, confidence = together.ids_and_confidence(IMAGES).unbind(1)
    assert torch.equal(same, sets.float())
    torch.testing.assert_close(confidence, torch.stack(doubts).amin(0))


def test_classes_that_overlap_have_a_threshold_each():
    overlapping = Classes(("a", "b", "c"), ((0, 0, 0),) * 3, overlapping=True)
    assert num_logits(config(), overlapping) == 3
    assert head_of(config(), overlapping) == Overlapping((0.5, 0.5, 0.5))
    assert head_of(config(), overlapping, (0.2, 0.3, 0.4)) == Overlapping((0.2, 0.3, 0.4))
    assert head_of(config(eval_threshold=0.9), overlapping, (0.2, 0.3, 0.4)) == Overlapping((0.9, 0.9, 0.9))
    with pytest.raises(UserError, match=r"data.overlap: keep takes model.head: sigmoid"):
        num_logits(config(model_head="softmax"), overlapping)
