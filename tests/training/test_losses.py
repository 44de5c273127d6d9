import pytest
import torch
import torch.nn.functional as F

from segdla.data.labels import IGNORE_INDEX
from segdla.training.losses import (
    binary_cross_entropy,
    binary_dice,
    boundary,
    cross_entropy,
    dice,
    focal,
    lovasz,
    ohem,
)

OF_SOFTMAX = [cross_entropy, ohem, dice, lovasz, boundary]
OF_SIGMOID = [binary_cross_entropy, binary_dice, focal]  # to which the targets are sets: none, the first, the second
LOSSES = [*OF_SOFTMAX, *OF_SIGMOID]
CERTAIN = 50.0  # a logit that makes a probability of 1


@pytest.fixture
def logits():
    return torch.randn(2, 4, 9, 11)


@pytest.fixture
def targets():
    """Ids 0..2 of four classes: one is absent; two rows are ignored."""
    ids = torch.randint(0, 3, (2, 9, 11))
    ids[0, :2] = IGNORE_INDEX
    return ids


def certain(prediction, num_classes):
    return CERTAIN * F.one_hot(prediction, num_classes).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("smoothing", [0, 0.1])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 4.0, 2.0])])
def test_cross_entropy_is_torchs(logits, targets, weights, smoothing):
    expected = F.cross_entropy(logits, targets, weights, ignore_index=255, label_smoothing=smoothing)
    torch.testing.assert_close(cross_entropy(logits, targets, weights, smoothing), expected)


def test_smoothing_spreads_nothing_from_pixels_that_weigh_nothing(logits):
    targets = torch.zeros(2, 9, 11, dtype=torch.int64)
    weights = torch.tensor([0.0, 1, 1, 1])
    assert cross_entropy(logits, targets, weights, 0.1) == 0
    targets[0, 0, 0] = 1
    alone = cross_entropy(logits[:1, :, :1, :1], targets[:1, :1, :1], weights, 0.1)
    torch.testing.assert_close(cross_entropy(logits, targets, weights, 0.1), alone)


@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_a_class_of_weight_0_is_ignored(logits, targets, smoothing):
    """Torch ignores it too, unless there is label smoothing: then it learns from such pixels, without counting them."""
    weights, ignored = torch.tensor([0.5, 0.0, 4.0, 2.0]), targets.where(targets != 1, IGNORE_INDEX)
    ours = cross_entropy(logits, targets, weights, smoothing)
    torch.testing.assert_close(
        ours, F.cross_entropy(logits, ignored, weights, ignore_index=255, label_smoothing=smoothing)
    )
    torchs = F.cross_entropy(logits, targets, weights, ignore_index=255, label_smoothing=smoothing)
    assert torch.isclose(ours, torchs) == (smoothing == 0)
    losses = F.cross_entropy(logits, targets, weights, ignore_index=255, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(torchs - ours, losses[targets == 1].sum() / weights[ignored[ignored != 255]].sum())


@pytest.mark.parametrize("loss", LOSSES)
def test_of_any_precision(logits, targets, loss):
    exact = loss(logits.double(), targets)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(loss(logits, targets).double(), exact, rtol=1e-5, atol=0)
    torch.testing.assert_close(loss(logits.bfloat16(), targets).double(), exact, rtol=0.05, atol=0)


def test_gradients_of_lovasz_in_double(targets):
    logits = torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: lovasz(x, targets[1:, 2:5, :3]), logits)


@pytest.mark.parametrize("loss", LOSSES)
def test_finite_where_nothing_is_labelled(logits, loss):
    logits.requires_grad_()
    value = loss(logits, torch.full((2, 9, 11), 255))
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_ignored_changes_nothing(logits, targets, loss):
    other = logits.clone()
    other[0, :, :2] = torch.randn(4, 2, 11)
    torch.testing.assert_close(loss(other, targets), loss(logits, targets))


@pytest.mark.parametrize("loss", OF_SOFTMAX)
def test_a_certain_and_right_prediction_costs_nothing(targets, loss):
    assert loss(certain(targets.where(targets != 255, 3), 4), targets).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_lead_downhill(logits, targets, loss):
    logits.requires_grad_()
    before = loss(logits, targets)
    before.backward()
    step = 0.1 * logits.grad / logits.grad.norm()
    assert loss(logits.detach() - step, targets) < before


@pytest.mark.parametrize(("name", "loss"), [("DiceLoss", dice), ("LovaszLoss", lovasz)])
def test_equal_to_segmentation_models_pytorch(logits, targets, name, loss):
    smp = pytest.importorskip("segmentation_models_pytorch")
    expected = getattr(smp.losses, name)("multiclass", ignore_index=255)(logits, targets)
    torch.testing.assert_close(loss(logits, targets), expected)


def test_ohem_of_all_pixels_is_cross_entropy(logits, targets):
    weights = torch.tensor([0.5, 1.0, 4.0, 2.0])
    for w in (None, weights):
        torch.testing.assert_close(ohem(logits, targets, w, threshold=1.0), cross_entropy(logits, targets, w))


def test_ohem_by_hand():
    # Probabilities of the true class: 0.9, 0.6, 0.2 and an ignored one.
    true = torch.tensor([0.9, 0.6, 0.2, 0.5])
    logits = torch.stack([true.log(), (1 - true).log()]).view(1, 2, 1, 4)
    targets = torch.tensor([[[0, 0, 0, 255]]])
    losses = -true.log()
    torch.testing.assert_close(ohem(logits, targets, threshold=0.7, min_kept=0), losses[1:3].mean())
    torch.testing.assert_close(ohem(logits, targets, threshold=0.1, min_kept=0), losses[2])  # one is always kept
    torch.testing.assert_close(ohem(logits, targets, threshold=0.1, min_kept=0.5), losses[1:3].mean())
    torch.testing.assert_close(ohem(logits, targets, threshold=0.1, min_kept=1), losses[:3].mean())


def test_boundary_by_hand():
    # A vertical edge, predicted some columns aside: right as long as it is met within two pixels.
    def edge(column):
        return (torch.arange(12) >= column).long().expand(1, 6, 12)

    shifted = [boundary(certain(edge(4 + shift), 2), edge(4)).item() for shift in range(4)]
    assert shifted == pytest.approx([0, 0, 0, 1], abs=1e-5)


def test_boundary_next_to_ignored_pixels_is_none(logits):
    targets = torch.zeros(1, 6, 12, dtype=torch.long)
    targets[..., 5:] = 255  # one class, and beyond it nothing known: no boundary to find
    assert boundary(torch.randn(1, 2, 6, 12), targets).item() == 0


@pytest.mark.parametrize(("weights", "smoothing"), [(None, 0), (None, 0.1), (torch.tensor([0.5, 4.0]), 0)])
def test_the_cross_entropy_of_one_logit_is_that_of_two_one_of_which_is_0(logits, targets, weights, smoothing):
    targets = targets.where(targets != 2, 1)
    one = logits[:, :1]
    both = torch.cat([torch.zeros_like(one), one], 1)
    expected = cross_entropy(both, targets, weights, smoothing)
    torch.testing.assert_close(binary_cross_entropy(one, targets, weights, smoothing), expected)


def test_focal_by_hand_and_without_focus():
    # The truth has probability 3/4, 1/2 and 1/2, the last unlabelled.
    logits, targets = torch.tensor([3.0, 1.0, 1.0]).log().view(1, 1, 1, 3), torch.tensor([[[1, 0, 255]]])
    expected = ((1 / 4) ** 2 * torch.tensor(4 / 3).log() + (1 / 2) ** 2 * torch.tensor(2.0).log()) / 2
    torch.testing.assert_close(focal(logits, targets), expected)
    torch.testing.assert_close(focal(logits, targets, gamma=0), binary_cross_entropy(logits, targets))
    certain = torch.full((1, 1, 1, 3), CERTAIN, requires_grad=True)
    focal(certain, torch.ones(1, 1, 3, dtype=torch.int64), gamma=0.5).backward()
    assert certain.grad.isfinite().all()


def test_dice_of_one_logit_is_of_the_object_alone():
    logits, targets = torch.zeros(1, 1, 1, 5), torch.tensor([[[1, 1, 0, 0, 255]]])
    # Probabilities of 1/2 at four pixels meet two true ones: 2 x 1 / (2 + 2).
    assert binary_dice(logits, targets).item() == pytest.approx(1 / 2)
    assert binary_dice(2 * CERTAIN * (targets[:, None] - 0.5).clamp(-1, 1), targets).item() == pytest.approx(0)


@pytest.mark.parametrize("loss", OF_SIGMOID)
def test_the_loss_of_sets_is_the_mean_over_their_classes(logits, loss):
    sets = torch.randint(0, 16, (2, 9, 11))
    sets[0, :2] = IGNORE_INDEX
    alone = [
        loss(logits[:, bit : bit + 1], (sets >> bit & 1).where(sets != IGNORE_INDEX, IGNORE_INDEX)) for bit in range(4)
    ]
    torch.testing.assert_close(loss(logits, sets), torch.stack(alone).mean())
