"""From a config to a run: what a user can ask for, and what is answered."""

import errno
import json
import os

import numpy as np
import pytest
import torch
from distributed_work import find_occupied
from processes import run_together
from tiny_run import assert_same_run, small_network, stop_at_step, use_small_networks

import segdla
from segdla.data.source import Classes, Source
from segdla.errors import UserError
from segdla.training import loop, run
from segdla.training.losses import cross_entropy
from segdla.training.state import Training


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch):
    """The config's network takes most of a short run's time, and is not the point."""
    use_small_networks(monkeypatch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.batch_size=4", "train.batch_size is 4, and was 2 when runs/two_folders was saved"),
        ("train.seed=1", "train.seed is 1, and was 0"),
        ("model.mean=[0, 0, 0]", "model.mean is [0.0, 0.0, 0.0], and was [0.485, 0.456, 0.406]"),
        ("model.weights=other.pth", "model.weights is other.pth, and was None"),
        (
            "data.classes=[a, b, c, d, e, f, g, h, i]",
            "classes is ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'], and was [",
        ),
    ],
)
def test_a_resumed_run_stays_in_its_place_in_the_data(two_folders, tool, fails, change, message):
    assert tool("train")(two_folders) == 0
    assert message in fails("train", "--resume", "runs/two_folders", "train.epochs=2", change)


def test_unreadable_images_are_left_out_by_choice(two_folders, tool, tmp_path, capfd, fails):
    (tmp_path / "set" / "train" / "images" / "scene 2.png").write_bytes(b"broken")
    assert "scene 2.png" in fails("train", two_folders)
    assert tool("train")(two_folders, "data.unreadable=skip", "train.epochs=2") == 0
    assert "left out: " in capfd.readouterr().out
    assert '"unreadable": ' in (tmp_path / "runs" / "two_folders" / "metrics.jsonl").read_text(encoding="utf-8")


def test_class_weights_are_counted_without_unreadable_masks_by_choice(two_folders, tool, tmp_path, capfd, fails):
    (tmp_path / "set" / "train" / "masks" / "scene 2.png").write_bytes(b"broken")
    counted = "loss.class_weights=enet"
    assert "scene 2.png" in fails("train", two_folders, counted)
    assert tool("train")(two_folders, counted, "data.unreadable=skip", "train.epochs=1") == 0
    printed = capfd.readouterr().out
    assert printed.index("left out: ") < printed.index("class weights (enet)")


@pytest.mark.parametrize("pretrained", [False, True])
def test_a_run_that_ended_before_its_first_state_is_resumed_from_its_start(two_folders, tool, tmp_path, pretrained):
    runs = tmp_path / "runs"
    assert tool("train")(two_folders, "--name", "first", "train.seed=1") == 0
    weights = [f"model.weights={runs / 'first' / 'best.safetensors'}"] * pretrained
    assert tool("train")(two_folders, *weights, "--name", "whole") == 0
    (runs / "begun").mkdir()
    (runs / "begun" / "config.yaml").write_bytes((runs / "whole" / "config.yaml").read_bytes())
    assert tool("train")("--resume", runs / "begun") == 0
    states = [torch.load(runs / name / "last.pt", weights_only=True)["model"] for name in ("whole", "begun")]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_a_run_is_one_process_s_alone_while_it_is_trained(two_folders, tool, tmp_path, monkeypatch):
    folder, train, others = tmp_path / "runs" / "mine", loop.train, []

    def with_another(*args):
        others.extend(run_together(find_occupied, folder, world_size=1))
        return train(*args)

    monkeypatch.setattr(loop, "train", with_another)
    assert tool("train")(two_folders, "--name", "mine") == 0
    assert tool("train")("--resume", folder, "train.epochs=2") == 0
    assert others == [0, 0]


def test_weights_that_are_gone_are_kept_anew(two_folders, tool, tmp_path):
    run = tmp_path / "runs" / "mine"
    assert tool("train")(two_folders, "--name", "mine") == 0
    state = torch.load(run / "last.pt", weights_only=True)
    torch.save({**state, "best": 0.99}, run / "last.pt")
    (run / "best.safetensors").unlink()
    assert tool("train")("--resume", run, "train.epochs=2") == 0
    assert (run / "best.safetensors").exists()


def test_a_state_that_is_cut_short_is_answered(two_folders, tool, tmp_path, fails):
    run = tmp_path / "runs" / "mine"
    assert tool("train")(two_folders, "--name", "mine") == 0
    (run / "last.pt").write_bytes((run / "last.pt").read_bytes()[:1000])
    assert "last.pt is cut short or damaged" in fails("train", "--resume", run, "train.epochs=2")
    torch.save({"step": 1}, run / "last.pt")
    assert "last.pt is damaged, or no state of a training: its model is missing" in fails(
        "train", "--resume", run, "train.epochs=2"
    )


def test_a_disk_that_fails_condemns_no_state(two_folders, tool, fails, monkeypatch):
    assert tool("train")(two_folders, "--name", "mine") == 0

    def broken(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(torch, "load", broken)
    assert "cannot read runs/mine/last.pt: Input/output error" in fails("train", "--resume", "runs/mine")


def test_what_fails_at_its_first_step_leaves_no_run(two_folders, fails, tmp_path, monkeypatch):
    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "take_step", too_large)
    assert "out of memory" in fails("train", two_folders, "--name", "mine")
    assert not (tmp_path / "runs" / "mine").exists()


def test_what_fails_at_its_first_step_changes_no_run(two_folders, tool, fails, tmp_path, monkeypatch):
    assert tool("train")(two_folders, "--name", "mine") == 0
    files = {path: path.read_bytes() for path in (tmp_path / "runs" / "mine").glob("*.*") if "events" not in path.name}

    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "take_step", too_large)
    assert "out of memory" in fails("train", "--resume", "runs/mine", "train.epochs=2", "data.crop=[64, 64]")
    assert {path: path.read_bytes() for path in files} == files


def test_parts_too_small_for_batch_normalisation_are_refused(two_folders, fails):
    message = fails("train", two_folders, "train.batch_size=1", "data.crop=[32, 32]")
    assert "parts of one image of 32x32 (data.crop) are too small" in message


def test_another_optimizer_does_not_resume(two_folders, tool, tmp_path, fails):
    assert tool("train")(two_folders, "--name", "first") == 0
    message = fails("train", "--resume", tmp_path / "runs" / "first", "train.epochs=2", "train.optimizer=adamw")
    assert "does not fit the config" in message


def test_lack_of_memory_while_resuming_is_told_as_such(two_folders, tool, fails, monkeypatch):
    assert tool("train")(two_folders) == 0

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Training, "load_state_dict", full)
    assert "out of memory" in fails("train", "--resume", "runs/two_folders", "train.epochs=2")


def test_what_takes_long_comes_after_what_can_be_wrong(two_folders, tool, fails, monkeypatch):
    assert tool("train")(two_folders) == 0
    for slow in ("cached", "training_samples"):
        monkeypatch.setattr(run, slow, lambda *_, **__: pytest.fail("decoded and counted first"))
    assert "no weights file" in fails("train", two_folders, "model.weights=none.pth")
    assert "Wobble" in fails("train", two_folders, "data.augment.transforms=[{Wobble: null}]")
    assert "has done its 1 epochs" in fails("train", "--resume", "runs/two_folders")


def test_the_summary_tells_what_will_happen(two_folders, tool, capsys):
    assert tool("train")(two_folders, "train.accumulate=2") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "M parameters" in printed and "GMAC for a crop of 32x64" in printed
    assert "4 images to train on, 2 to validate" in printed
    assert "1 epochs of 2 steps of 2 images (in 2 parts of 1): 2 steps" in printed


def test_validation_images_may_be_trained_on_and_then_choose_no_weights(two_folders, tool, tmp_path, capsys):
    settings = ("data.train_on_val=true", "train.epochs=3", "train.lr=1e-9")
    assert tool("train")(two_folders, *settings) == 0
    printed = capsys.readouterr().out
    assert "6 images to train on, 2 of them to validate" in printed
    assert "the last weights, of step 9; on val (trained on):" in printed
    assert "segdla test runs/two_folders --multiscale --split test" in printed
    assert json.loads((tmp_path / "runs/two_folders/scores.json").read_text(encoding="utf-8"))["trained_on"]
    assert tool("test")("runs/two_folders") == 0
    assert "trained on these images too" in capsys.readouterr().out


class Stripes(Source):
    """Images of 32x32 pixels, dark on the left and light on the right; columns between are ignored."""

    classes = Classes(("dark", "light"), ((0, 0, 0), (255, 255, 255)))

    def __len__(self):
        return 4

    def name(self, index):
        return f"stripes {index}"

    def read(self, index):
        target = np.zeros((32, 32), np.uint8)
        target[:, 6 * (index + 1) :] = 1
        image = np.repeat(200 * target[..., None], 3, axis=2)
        target[:, 6 * index + 5] = 255
        return image, target


STRIPES = {"train": Stripes(), "val": Stripes()}


@pytest.fixture
def config():
    """Two steps on crops of 32x32."""
    return segdla.Config.model_validate(
        {
            "data": {"dataset": "scenes", "crop": [32, 32], "size": [32, 32], "train": 4, "val": 2, "workers": 0},
            "train": {"epochs": 1, "batch_size": 2, "report_every": 1, "device": "cpu"},
        }
    )


def losses_of(a_run):
    lines = (a_run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record["loss"] for record in map(json.loads, lines) if "loss" in record]


def test_a_run_is_wherever_a_path_is(config, tmp_path):
    first, second = (segdla.train(config, runs=tmp_path) for _ in range(2))
    assert (first.folder, second.folder) == (tmp_path / "run", tmp_path / "run-2")
    assert first.finished and os.fspath(first) == str(tmp_path / "run")
    assert segdla.load(first).path == segdla.load(first.folder).path == first.folder / "best.safetensors"
    assert segdla.resume(first, {"train.epochs": 2}).folder == first.folder
    assert segdla.load_config(first.folder / "config.yaml").train.epochs == 2


def test_overrides_and_names(config, tmp_path):
    a_run = segdla.train(config, {"train.epochs": 2}, name="mine", runs=str(tmp_path))
    assert a_run.folder == tmp_path / "mine" and len(losses_of(a_run)) == 4
    with pytest.raises(UserError, match=r"mine exists; choose another name \(--name\), or resume it"):
        segdla.train(config, name="mine", runs=tmp_path)
    with pytest.raises(UserError, match=r"cannot resume .*none: there is no .*config\.yaml"):
        segdla.resume(tmp_path / "none")
    with pytest.raises(UserError, match=r"unknown key 'train\.epoch'"):
        segdla.train(config, {"train.epoch": 1}, runs=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_own_loss_is_what_is_trained_with(config, tmp_path):
    theirs, doubled = (
        segdla.train(config, runs=tmp_path, loss=loss)
        for loss in (cross_entropy, lambda logits, targets: 2 * cross_entropy(logits, targets))
    )
    assert losses_of(theirs)[0] == losses_of(segdla.train(config, runs=tmp_path))[0]
    assert losses_of(doubled)[0] == pytest.approx(2 * losses_of(theirs)[0])


def test_an_own_source_is_what_is_trained_and_validated_on(config, tmp_path, capsys):
    a_run = segdla.train(config, runs=tmp_path, source=STRIPES)
    assert "own data: 4 images to train on, 4 to validate\n" in capsys.readouterr().out
    assert segdla.load(a_run).classes == ("dark", "light")
    record = json.loads((a_run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert set(record["iou"]) == {"dark", "light"}


def test_an_own_network_is_trained_in_place_and_opens_again(config, tmp_path, monkeypatch):
    for module in ("segdla.training.own.from_config", "segdla.checkpoints.from_config"):
        monkeypatch.setattr(f"{module}.build_network", lambda *_: pytest.fail("the config's network"))
    model = small_network(9, channels=(4, 8, 12))
    before = model.classifier.weight.clone()
    a_run = segdla.train(config, runs=tmp_path, model=model)
    assert not torch.equal(model.classifier.weight, before)
    segmenter = segdla.load(a_run, "cpu", model=small_network(9, channels=(4, 8, 12)))
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        expected = model.eval()(images).argmax(1).to(torch.uint8)
    assert (segmenter.predict(images) == expected).float().mean() > 0.99  # folded, near ties may change sides


def test_a_run_with_own_parts_resumes_to_the_same_bits(config, tmp_path, monkeypatch):
    own = {"loss": cross_entropy, "source": STRIPES}
    overrides = {"train.epochs": 2}  # four steps
    whole = segdla.train(config, overrides, name="whole", runs=tmp_path, model=small_network(2), **own)
    steps = stop_at_step(2, monkeypatch)
    torch.manual_seed(0)
    stopped = segdla.train(config, overrides, name="stopped", runs=tmp_path, model=small_network(2), **own)
    assert not stopped.finished and len(steps) == 2
    assert segdla.resume(stopped, model=small_network(2), **own).finished
    assert_same_run(whole.folder, stopped.folder)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"source": {"train": Stripes()}}, "source has no 'val'"),
        ({"source": STRIPES, "model": small_network(3)}, "model gives 3 logits and the data take 2"),
    ],
)
def test_own_parts_that_do_not_fit_leave_no_run(config, tmp_path, own, message):
    with pytest.raises(UserError, match=message):
        segdla.train(config, runs=tmp_path, **own)
    assert not any(tmp_path.iterdir())
