"""``train.batch_size: auto`` takes the largest power of two that fits, and from then on is that number."""

import pytest
import torch
import yaml
from distributed_work import train_with_less_room
from processes import run_together
from tiny_run import TINY, assert_same_run, use_small_networks

import segdla
from segdla.errors import UserError
from segdla.training.budget import batch_fit
from segdla.training.budget.batch_fit import largest_batch, most_images

CPU = torch.device("cpu")


def fits_up_to(limit, tried):
    """A step that has memory for so many images, on a device whose errors are CUDA's."""

    def step(size):
        tried.append(size)
        if size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return step


@pytest.mark.parametrize(
    ("limit", "most", "size", "attempts"),
    [(11, 64, 8, [2, 4, 8, 16]), (99, 12, 8, [2, 4, 8]), (1, 64, 0, [2]), (2, 64, 2, [2, 4]), (99, 1, 2, [2])],
)
def test_a_device_is_tried_until_its_memory_runs_out(limit, most, size, attempts, monkeypatch):
    tried = []
    monkeypatch.setattr(batch_fit, "wait_for", lambda _: None)
    assert largest_batch(fits_up_to(limit, tried), torch.device("meta"), most, spare=0.1) == size
    assert tried == attempts


def test_other_errors_of_a_trial_are_not_taken_for_lack_of_memory(monkeypatch):
    def broken(size):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        largest_batch(broken, torch.device("meta"), 64, spare=0.1)


@pytest.mark.parametrize(("free", "size"), [(1000, 8), (400, 4), (399, 2), (200, 2), (199, 0), (10**9, 16)])
def test_a_processor_s_batch_follows_from_a_step_of_two_images(free, size, monkeypatch):
    monkeypatch.setattr(batch_fit, "peak_memory", lambda work, device: work() or 100.0)
    monkeypatch.setattr(batch_fit, "free_memory", lambda: free)
    tried = []
    assert largest_batch(tried.append, CPU, 16, spare=0.1) == size  # half of the memory, 50 bytes an image
    assert tried == [2]


def test_the_bound_leaves_an_epoch_eight_steps():
    assert most_images(100, CPU) == 12
    assert most_images(10_000, CPU) == 16
    assert most_images(10_000, torch.device("cuda")) == 64


def test_the_peak_that_is_measured_is_that_of_the_step():
    held = []
    peak = batch_fit.peak_memory(lambda: held.append(torch.ones(64 << 20)), CPU)  # 256 MiB
    assert peak is None or 192 << 20 < peak < 320 << 20  # the system may take idle pages of this process back meanwhile


def config(**train):
    values = yaml.safe_load(TINY)
    values["data"]["train"] = 40
    values["train"] |= {"epochs": 1, "accumulate": 1, **train}
    return segdla.Config.model_validate(values)


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch):
    use_small_networks(monkeypatch)


def test_a_run_is_that_of_the_number_which_is_said_and_written(tmp_path, capsys):
    auto = segdla.train(config(batch_size="auto"), name="auto", runs=tmp_path).folder
    assert "train.batch_size is 4, the most that auto takes here; train.lr stays 0.001" in capsys.readouterr().out
    assert segdla.load_config(auto / "config.yaml").train.batch_size == 4  # a power of two, at most an eighth of 40
    four = segdla.train(config(batch_size=4), name="four", runs=tmp_path).folder
    assert_same_run(auto, four)


def test_a_resumed_run_keeps_its_number(tmp_path, monkeypatch):
    whole = segdla.train(config(batch_size="auto"), name="whole", runs=tmp_path).folder
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.yaml").write_bytes((whole / "config.yaml").read_bytes())
    monkeypatch.setattr(batch_fit, "largest_batch", lambda *_: pytest.fail("tried again"))
    segdla.resume(begun)
    assert_same_run(whole, begun)


def test_parts_of_a_step_are_what_has_to_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_fit, "largest_batch", lambda step, device, most, spare: most)
    folder = segdla.train(config(batch_size="auto", accumulate=2), name="mine", runs=tmp_path).folder
    assert segdla.load_config(folder / "config.yaml").train.batch_size == 4  # two parts of two


def test_too_little_memory_for_two_images_is_answered_before_a_run_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_fit, "peak_memory", lambda work, device: work() or 1e15)
    with pytest.raises(UserError, match=r"not even 2 images of 32x32 \(data\.crop\) fit into the memory of cpu; lower"):
        segdla.train(config(batch_size="auto"), name="mine", runs=tmp_path)
    assert not (tmp_path / "mine").exists()


def test_processes_take_what_fits_into_each(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(config(batch_size="auto").model_dump(mode="json")), encoding="utf-8")
    assert run_together(train_with_less_room, path, tmp_path) == [0, 0]
    assert segdla.load_config(tmp_path / "tiny" / "config.yaml").train.batch_size == 2 * 4


def test_a_word_that_is_no_batch_size_is_answered():
    with pytest.raises(UserError, match=r"'train\.batch_size' is 'most'"):
        segdla.load_config(config(), {"train.batch_size": "most"})
