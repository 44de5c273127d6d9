from itertools import product

import pytest
import torch
import torch.nn.functional as F

from segdla.config import EvalConfig
from segdla.inference import from_config
from segdla.inference.from_config import Predictor
from segdla.inference.score_maps import classify
from segdla.models.dlaseg import at_image_size

MERGES = ("logprobs", "probs", "logits")
IMAGES = torch.randint(0, 256, (2, 3, 71, 107), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def noisy(images):
    """Logits at stride 4 of five classes, none of which wins everywhere."""
    weights = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    padded = F.pad(images.float() - 127, (0, -images.shape[-1] % 4, 0, -images.shape[-2] % 4), mode="replicate")
    return F.conv2d(padded, weights / 100, stride=4)


def built(scales=(1.0,), mirrored=False, logits_of=noisy, stride=4, **settings):
    return Predictor(logits_of, stride, EvalConfig.model_validate(settings), tuple(scales), mirrored)


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("window", ["whole", (40, 48), "auto"])
def test_both_are_the_class_ids_and_the_probabilities(merge, window):
    for scales, mirrored, low_memory in product([(1.0,), (0.5, 1.25)], (False, True), (False, True)):
        predictor = built(scales, mirrored, merge=merge, window=window, low_memory=low_memory)
        class_ids, probabilities = predictor.both(IMAGES)
        assert class_ids.dtype == torch.uint8 and probabilities.dtype == torch.float32
        assert torch.equal(class_ids, predictor.class_ids(IMAGES))
        assert torch.equal(probabilities, predictor.probabilities(IMAGES))
        assert class_ids.shape == (2, 71, 107) and len(class_ids.unique()) == 5
        assert torch.equal(probabilities.argmax(1), class_ids.long())
        torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 71, 107))
        ids, confidence = predictor.ids_and_confidence(IMAGES).unbind(1)
        assert torch.equal(ids, class_ids.float())
        torch.testing.assert_close(confidence, probabilities.amax(1))
        assert ((predictor.levels(IMAGES) - 255 * probabilities).abs() <= 0.501).all()


@pytest.mark.parametrize("merge", MERGES)
def test_low_memory_changes_nothing(merge):
    for window, mirrored in product(["whole", (40, 48)], (False, True)):
        settings = {"scales": (0.5, 1.0), "mirrored": mirrored, "merge": merge, "window": window}
        predictors = built(low_memory=False, **settings), built(low_memory=True, **settings)
        ids, probabilities = zip(*(predictor.both(IMAGES) for predictor in predictors), strict=True)
        assert torch.equal(*ids) and torch.equal(*probabilities)


def test_one_pass_over_the_whole_image_is_the_network_s_own():
    logits = at_image_size(noisy(IMAGES), 4, (71, 107))
    assert torch.equal(built().class_ids(IMAGES), classify(logits))
    assert torch.equal(built().probabilities(IMAGES), logits.softmax(1))


def test_a_predictor_serves_images_of_any_size():
    predictor = built((0.5, 1.0), True, window=(40, 48))
    for images in (IMAGES, IMAGES[:1, :, :30, :25], IMAGES.repeat(1, 1, 2, 1), IMAGES):
        assert torch.equal(predictor.class_ids(images), built((0.5, 1.0), True, window=(40, 48)).class_ids(images))


@pytest.mark.parametrize(
    ("merge", "expected"),
    [("probs", 5 / 8), ("logits", 3**0.5 / (1 + 3**0.5)), ("logprobs", 3**0.5 / (1 + 3**0.5))],
)
def test_means_by_hand(merge, expected):
    # Two columns, in which the second class has probability 3/4 and 1/2; mirrored, each pixel is seen in both.
    def columns(images):
        return torch.tensor([[0.0, 0.0], [3.0, 1.0]]).clamp(min=1).log()[None, :, None]

    predictor = built(mirrored=True, logits_of=columns, stride=1, merge=merge)
    probabilities = predictor.probabilities(torch.zeros(1, 3, 1, 2, dtype=torch.uint8))
    torch.testing.assert_close(probabilities[:, 1], torch.full((1, 1, 2), expected))


@pytest.mark.parametrize(
    ("scales", "expected"), [((1.0,), {(71, 107)}), ((1.0, 1.5), {(64, 80), (96, 120)})], ids=["as large", "larger"]
)
def test_images_above_a_size_at_the_largest_scale_are_seen_by_windows(scales, expected, monkeypatch):
    monkeypatch.setattr(from_config, "LARGE", 71 * 107)
    monkeypatch.setattr(from_config, "LARGE_WINDOW", (64, 80))
    sizes = set()

    def noting(images):
        sizes.add(tuple(images.shape[-2:]))
        return noisy(images)

    built(scales, logits_of=noting).class_ids(IMAGES)
    assert sizes == expected
