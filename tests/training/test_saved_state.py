"""States of a run that are damaged in any place: answered, or resumed, and nothing is changed before."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import CPU, batches, tiny_training
from torch.amp import GradScaler
from torch.optim.swa_utils import AveragedModel

from segdla.errors import UserError
from segdla.training.losses import Objective, cross_entropy
from segdla.training.saved_state import SavedState
from segdla.training.state import LAST, Plan, Training, moving_average, read_state, restore
from segdla.training.step import gradients_of, take_step

STREAM = {"train.batch_size": 2, "classes": ["a", "b"], "protocol": None, "model.mean": [0.5]}


def one_training(kind="AdamW"):
    """A training with all that a state can hold; its optimizer is fused, and would read beyond small moments."""
    model = tiny_training().model
    optimizer = {
        "AdamW": lambda: torch.optim.AdamW(model.named_parameters(), 0.01, fused=True),
        "SGD": lambda: torch.optim.SGD(model.named_parameters(), 0.01, 0.9, fused=True),
        "without momentum": lambda: torch.optim.SGD(model.named_parameters(), 0.01, fused=True),
    }[kind]()
    ema = AveragedModel(model, multi_avg_fn=moving_average(0.9), use_buffers=True)
    scaler = GradScaler("cpu", init_scale=4.0)
    return Training(model, optimizer, lambda step: 1.0, scaler, ema, stream=copy.deepcopy(STREAM))


def steps(training, count):
    plan = Plan(run=None, device=CPU, num_steps=8, steps_per_epoch=4)
    gradients = gradients_of(training, training.model, Objective([(1.0, cross_entropy)]), plan)
    for batch in batches(training.step + count, training.step):
        torch.manual_seed(training.step)
        take_step(training, gradients, (batch,), plan)
        training.step += 1


def saved(kind="AdamW"):
    training = one_training(kind)
    steps(training, 2)
    return training.state_dict()


STATE = saved()
WEIGHTS = copy.deepcopy(one_training().state_dict())


def paths(value, path=()):
    """Every place in nested dicts and lists."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from paths(part, (*path, key))


def changed(value, path, change):
    """A copy with what stands at a path changed; ``change`` is a function of it, or None to take it away."""
    if not path:
        return change(value) if change else {}
    result = copy.copy(value)
    if len(path) == 1 and change is None:
        del result[path[0]]
    else:
        result[path[0]] = changed(value[path[0]], path[1:], change)
    return result


def of_another_shape(value):
    if not isinstance(value, torch.Tensor):
        return value
    return value[None] if value.ndim == 0 else value.flatten()[:1]


def of_another_dtype(value):
    return value.to(torch.float64 if value.dtype is not torch.float64 else torch.int8) if torch.is_tensor(value) else 1


CHANGES = st.one_of(
    st.sampled_from([None, of_another_shape, of_another_dtype, lambda value: {"more": value}, lambda value: [value]]),
    st.sampled_from(
        [None, True, -1, 0, 3, 2**70, 1e300, float("nan"), float("inf"), "x" * 100_000, "a\nb", b"", [], {}, [[[]]]]
        + [{1: 2}, {"step": None}, (1, 2), torch.zeros(0), torch.zeros(()), torch.tensor(float("nan")), torch.ones(9)]
        + [torch.zeros(3, 1).to_sparse(), torch.empty(2, device="meta"), torch.tensor(-5), torch.tensor(True)]
    ).map(lambda other: lambda value: other),
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(paths(STATE), key=str)), CHANGES)
def test_a_damaged_state_is_answered_or_resumes(tmp_path_factory, path, change):
    run = tmp_path_factory.getbasetemp() / "damaged"
    run.mkdir(exist_ok=True)
    torch.save(changed(STATE, path, change), run / LAST)
    training = one_training()
    try:
        restore(training, read_state(run), run)
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 800
        assert_same(training.state_dict(), WEIGHTS)
        return
    assert 0 <= training.evaluated <= training.step
    if training.step < 100:  # the stream of batches is drawn up to it
        steps(training, 1)


def assert_same(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    else:
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.parametrize("kind", ["AdamW", "SGD", "without momentum"])
def test_a_state_resumes_to_the_same_bits(tmp_path, kind):
    torch.save(saved(kind), tmp_path / LAST)
    whole, resumed = one_training(kind), one_training(kind)
    steps(whole, 4)
    restore(resumed, read_state(tmp_path), tmp_path)
    steps(resumed, 2)
    assert_same(resumed.state_dict(), {**whole.state_dict(), "best": -1.0})


@pytest.mark.parametrize(
    ("path", "value", "answer"),
    [
        (("optimizer", "1.weight", "exp_avg"), torch.zeros(2), "exp_avg of 1.weight is 2 there and 4x3x3x3 here"),
        (("optimizer", "1.weight", "exp_avg"), torch.zeros(4, 3, 3, 3, dtype=torch.float64), "float64 there and"),
        (("optimizer", "1.weight", "step"), torch.zeros(2), "step of 1.weight is 2 there and a single number here"),
        (("optimizer", "1.weight", "step"), torch.tensor(-1.0), "step of 1.weight is -1.0"),
        (("optimizer", "1.weight"), {}, "step of 1.weight is missing"),
        (("model", "1.weight"), torch.zeros(4), "the network's 1.weight is 4 there and 4x3x3x3 here"),
        (("ema", "n_averaged"), torch.tensor(-10), "the moving average is one of -10 values"),
        (("optimizer_name",), "SGD", "its optimizer is 'SGD', not AdamW"),
        (("scaler", "scale"), 0.0, "fp16's scale is 0"),
    ],
)
def test_what_does_not_fit_is_named(path, value, answer):
    state = SavedState.from_dict(changed(STATE, path, lambda _: value))
    with pytest.raises(ValueError, match=answer):
        one_training().load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "value", "answer"),
    [
        ("step", "7", "its step is '7', no number of steps"),
        ("step", True, "its step is True, no number of steps"),
        ("evaluated", 3, "its evaluated, 3, is beyond its step, 2"),
        ("best", float("nan"), "its best is nan"),
        ("stream", {"classes": {}}, "its stream's 'classes' is {}, no plain value"),
        ("model", {"a": 1}, "its model holds 'a', which is no plain tensor"),
    ],
)
def test_values_that_are_no_state_are_named(tmp_path, name, value, answer):
    torch.save({**STATE, name: value}, tmp_path / LAST)
    with pytest.raises(UserError, match=rf"last.pt is damaged, or no state of a training: {answer}"):
        read_state(tmp_path)
