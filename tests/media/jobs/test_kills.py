"""Real workers, real SIGKILLs, and workers that torchrun starts."""

import json
import subprocess
import sys
from collections import Counter

import exactly_once
import pytest


def workers_of(manifest):
    """Return the workers that have recorded an input."""
    journals = [path.read_text().splitlines() for path in (manifest / "_work" / "journals").glob("0*.jsonl")]
    return {json.loads(journal[0])["worker"] for journal in journals if len(journal) > 1}


@pytest.mark.slow
def test_torchrun_starts_two_workers_and_each_input_is_done_once(tmp_path):
    exactly_once.draw_images(tmp_path / "photos", 600)  # more than one does while the other is still starting
    exactly_once.write_network(tmp_path / "network.safetensors")
    exactly_once.undisturbed(tmp_path, "plain")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    common = ["--checkpoint", "network.safetensors", "--device", "cpu", "--output-kind", "ids"]
    command = [*launch, "-m", "segdla", "predict", "photos", "--output", "out", "--manifest", "jobs.jsonl", *common]
    printed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert printed.count("600 of 600 segmented, each recorded once") == 1  # by the first process alone
    assert len(workers_of(tmp_path / "jobs.jsonl")) == 2
    listed = Counter(record["input"] for record in exactly_once.parts(tmp_path / "jobs.jsonl"))
    assert len(listed) == 600 and set(listed.values()) == {1}
    assert exactly_once.digests(tmp_path / "out" / "ids") == exactly_once.digests(tmp_path / "plain" / "ids")


@pytest.mark.slow
def test_twenty_kills_of_random_workers(tmp_path):
    exactly_once.draw_images(tmp_path / "photos", 400)
    exactly_once.write_network(tmp_path / "network.safetensors")
    exactly_once.undisturbed(tmp_path, "plain")
    found = exactly_once.killed(tmp_path, kills=20, count=2)
    assert found["kills"] > 10  # the rest came when all was done
    wrong = {name: found[name] for name in ("missing", "listed twice", "recorded twice", "other bytes", "other files")}
    assert set(wrong.values()) == {0}, wrong
