"""A student beside its teacher: what is compared, and where gradients go."""

import copy
from pathlib import Path

import pytest
import torch
from distributed_work import train_three_steps
from processes import run_together
from tiny_run import CPU, Pyramid, small_network

from segdla.data.loader import Batch
from segdla.errors import UserError
from segdla.models.dlaseg import DLASeg, at_image_size
from segdla.models.skips import LastMap
from segdla.training.losses import cross_entropy
from segdla.training.state import Plan, Training
from segdla.training.step import gradients_of, take_step
from segdla.training.teacher.likeness import decorrelation, divergence
from segdla.training.teacher.student import Student, Teacher
from segdla.training.teacher.taught_objective import TaughtObjective

IMAGES = torch.randint(0, 256, (2, 3, 14, 23), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def teacher(network=None, logits=0.0, features=0.0, temperature=2.0):
    torch.manual_seed(1)
    return Teacher((network or small_network(2, (4, 6, 10))).eval(), logits, features, temperature, "")


def coarse_network(num_classes=2):
    """A network whose logits have stride 8."""
    return DLASeg(Pyramid((4, 6, 10)), LastMap((10,), (8,)), num_classes, (0.5,) * 3, (0.25,) * 3)


def test_a_network_that_is_its_own_teacher_has_nothing_to_learn():
    network = small_network(2).eval()
    logits, lesson = Student(network, teacher(copy.deepcopy(network), logits=1.0)).eval()(IMAGES)
    assert lesson.item() == 0
    assert torch.equal(logits, network(IMAGES))


def test_logits_are_compared_at_the_finer_stride_without_padding():
    network, coarse = small_network(2).eval(), coarse_network().eval()
    fine_logits = network.logits(IMAGES)[..., :7, :12]  # images of 14x23, of which 16x24 are computed at stride 2
    coarse_logits = at_image_size(coarse.logits(IMAGES), 4, (7, 12))
    _, lesson = Student(network, teacher(coarse, logits=3.0)).eval()(IMAGES)
    torch.testing.assert_close(lesson, 3 * divergence(fine_logits, coarse_logits, 2.0))
    _, other_way = Student(coarse, teacher(network, logits=3.0)).eval()(IMAGES)
    torch.testing.assert_close(other_way, 3 * divergence(coarse_logits, fine_logits, 2.0))


def test_features_are_compared_at_common_strides_from_4_on():
    network = small_network(2, (8, 16, 24)).eval()
    student = Student(network, teacher(features=3.0)).eval()
    assert student.strides == [4, 8]
    images = IMAGES[..., :9, :]  # of 9x23, of which 16x24 are computed
    ours, theirs = network.maps(images), student.teacher.network.maps(images)
    losses = [
        decorrelation(project(mine)[..., :h, :w], its[..., :h, :w])
        for project, mine, its, (h, w) in zip(student.projections, ours[1:], theirs[1:], ((3, 6), (2, 3)), strict=True)
    ]
    torch.testing.assert_close(student(images)[1], 3 * sum(losses) / 2)


def test_without_a_common_stride_there_are_no_features():
    far = coarse_network()
    far.backbone.strides = (16, 32, 64)
    with pytest.raises(UserError, match=r"at strides 16, 32, 64 and the network at 2, 4, 8: none from 4 on is common"):
        Student(small_network(2), teacher(far, features=1.0))


def test_ignored_pixels_are_taught_and_the_teacher_stays_as_it_is():
    student = Student(small_network(2), teacher(logits=1.0, features=1.0)).train()
    its_network = student.teacher.network
    before, of_student = copy.deepcopy(its_network.state_dict()), copy.deepcopy(student.state_dict())
    plan, optimizer = Plan(Path(), CPU, 1, 1), torch.optim.SGD(student.named_parameters(), 1.0)
    training = Training(student, optimizer, lambda step: 1.0)
    gradients = gradients_of(training, student, TaughtObjective([(1, cross_entropy)]), plan)
    unlabelled = Batch(IMAGES, torch.full((2, 14, 23), 255, dtype=torch.uint8), ("", ""))
    loss, _ = take_step(training, gradients, (unlabelled,), plan)
    assert loss > 0
    unmoved = [name for name, p in student.named_parameters() if torch.equal(p, of_student[name])]
    assert unmoved == []
    assert not its_network.training
    assert all(parameter.grad is None for parameter in its_network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in its_network.state_dict().items())


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_step_in_parts_is_that_of_the_whole_batch(tmp_path, world_size):
    """Its parts have different shares of labelled pixels, and the teacher's loss is on all of them."""
    for name in ("one", "parts"):
        (tmp_path / name).mkdir()
    train_three_steps(tmp_path / "one", 1, taught=True)
    if world_size == 1:
        train_three_steps(tmp_path / "parts", 2, taught=True)
    else:
        assert run_together(train_three_steps, tmp_path / "parts", 1, None, True) == [0, 0]
    state, losses = torch.load(tmp_path / "one" / "0.pt")
    same_state, same_losses = torch.load(tmp_path / "parts" / "0.pt")
    torch.testing.assert_close(same_losses, losses)
    for name, tensor in state.items():
        torch.testing.assert_close(same_state[name], tensor)
