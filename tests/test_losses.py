import torch
import torch.nn.functional as F

from segdla.losses import cross_entropy


def test_equal_to_torch_where_something_is_labelled():
    logits, targets = torch.randn(2, 4, 5, 6), torch.randint(0, 4, (2, 5, 6))
    targets[0, :2] = 255
    torch.testing.assert_close(cross_entropy(logits, targets), F.cross_entropy(logits, targets, ignore_index=255))


def test_class_weights_are_torchs():
    logits, targets = torch.randn(2, 3, 5, 6), torch.randint(0, 3, (2, 5, 6))
    targets[0, :2] = 255
    weights = torch.tensor([0.5, 1.0, 4.0])
    expected = F.cross_entropy(logits, targets, weight=weights, ignore_index=255)
    torch.testing.assert_close(cross_entropy(logits, targets, weights), expected)


def test_finite_where_nothing_is_labelled():
    logits = torch.randn(2, 4, 5, 6, requires_grad=True)
    loss = cross_entropy(logits, torch.full((2, 5, 6), 255))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()
