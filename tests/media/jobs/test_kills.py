"""Real workers, real SIGKILLs."""

import exactly_once
import pytest


@pytest.mark.slow
def test_twenty_kills_of_random_workers(tmp_path):
    exactly_once.draw_images(tmp_path / "photos", 400)
    exactly_once.write_network(tmp_path / "network.safetensors")
    exactly_once.undisturbed(tmp_path, "plain")
    found = exactly_once.killed(tmp_path, kills=20, count=2)
    assert found["kills"] > 10  # the rest came when all was done
    wrong = {name: found[name] for name in ("missing", "listed twice", "recorded twice", "other bytes", "other files")}
    assert set(wrong.values()) == {0}, wrong
