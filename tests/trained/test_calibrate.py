from dataclasses import replace

import numpy as np
import pytest
import torch
from support import photo

import segdla
from segdla.checkpoints.checkpoint import BEST, Card, read_card, read_checkpoint, write_checkpoint
from segdla.config import parse
from segdla.data.scenes import Scenes
from segdla.data.source import Classes
from segdla.errors import UserError
from segdla.models.from_config import build_network
from segdla.trained.calibrate import keep_fitted
from segdla.trained.open import open_trained


@pytest.fixture
def run(tmp_path):
    """A run on drawn scenes that nobody trained."""
    overrides = {"model.backbone": "dla46_c", "model.output_stride": 8}
    config = parse({"data": {"dataset": "scenes", "val": 3, "size": [32, 48], "workers": 0}}, overrides)
    network = build_network(config.model, len(Scenes.classes))
    torch.nn.init.normal_(network.classifier.weight, std=0.05)
    write_checkpoint(
        tmp_path / "run" / BEST, network.state_dict(), Card(config.model_dump(mode="json"), Scenes.classes)
    )
    return tmp_path / "run"


def test_a_fitted_temperature_is_kept_and_used_on_request(run, tool, capsys):
    path = run / "best.safetensors"
    before = read_checkpoint(path)
    assert tool("test")(run, "--fit-temperature", "--device", "cpu") == 0
    after = read_checkpoint(path)
    assert f"temperature {after.card.temperature:.3f}, by which" in capsys.readouterr().out
    assert after.card.temperature != 1 and before.card.temperature is None
    assert all(torch.equal(tensor, after.state_dict[name]) for name, tensor in before.state_dict.items())
    image = photo(32, 48)
    plain, cooled = (segdla.load(run, "cpu", temperature=choice) for choice in (None, "fitted"))
    logits = torch.from_numpy(plain.probabilities(image)).double().log()
    expected = (logits / after.card.temperature).softmax(0)
    np.testing.assert_allclose(cooled.probabilities(image), expected, atol=1e-5)
    np.testing.assert_array_equal(plain.predict(image), cooled.predict(image))  # the classes stay
    again = segdla.evaluate(run, device="cpu", overrides={"eval.temperature": "fitted"})
    assert again.mean_iou == segdla.evaluate(run, device="cpu").mean_iou


def test_a_card_with_a_temperature_comes_back_and_a_wrong_one_is_refused():
    card = Card({}, Classes(("a", "b"), ((0, 0, 0), (1, 1, 1))), temperature=1.5, thresholds=(0.25,))
    assert Card.from_json(card.to_json()) == card
    with pytest.raises(ValueError, match=r"a threshold of 1.25"):
        Card.from_json(card.to_json().replace("0.25", "1.25"))
    for wrong, message in (("-1", "a temperature of -1"), (f'"{"9" * 5000}"', r"'9{1,20}\.\.\.9+' is no float")):
        with pytest.raises(ValueError, match=message):
            Card.from_json(card.to_json().replace("1.5", wrong))


def test_a_network_that_was_trained_on_meanwhile_gets_no_temperature(run):
    trained = open_trained(run, "cpu")
    content = read_checkpoint(trained.path)
    write_checkpoint(trained.path, content.state_dict, replace(content.card, step=7))
    with pytest.raises(UserError, match=r"best.safetensors was written anew meanwhile, at step 7; fit its temperature"):
        keep_fitted(trained, "temperature", {"temperature": 1.5})
    assert read_card(trained.path).temperature is None


def test_mistakes_are_answered(run, fails):
    message = fails("test", run, "eval.temperature=fitted")
    assert "has no fitted temperature; let segdla test --fit-temperature fit it" in message
    assert "leave it out" in fails("test", run, "eval.temperature=2", "--fit-temperature", "--split", "val")
    assert read_card(run / "best.safetensors").temperature is None
    assert open_trained(run, "cpu", overrides={"eval.temperature": 2}).temperature == 2
    assert "has head softmax, which has no threshold; leave out" in fails("test", run, "--fit-threshold")
