"""A run can't be lost: killed anywhere, resumed, and equal to the run that was not."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import yaml
from image_tree import draw_tree, values
from processes import start
from support import run_tool
from tiny_run import TINY, assert_same_run, use_small_networks

from segdla.training import log

NUM_KILLS = 10  # of each of two chains of runs
NUM_STEPS = 12  # of the tiny run


def train(*argv):
    """``segdla train`` of a small network, without the drawing of curves, which took half of a short run's time."""
    # This process is the test's own.
    use_small_networks(pytest.MonkeyPatch())
    log.curves = lambda _: np.zeros((8, 8, 3), np.uint8)
    return run_tool("train", *argv)


def begin(folder, *argv):
    return start(train, "--runs", folder, *argv)


def is_done(folder):
    last = folder / "last.pt"
    return last.exists() and torch.load(last, weights_only=True)["evaluated"] == NUM_STEPS


def test_killed_twenty_times_and_resumed_to_the_same_bits(tmp_path):
    kill_twenty_times(tmp_path, TINY.replace("report_every: 1", "report_every: 1, save_every: 2"))


@pytest.mark.slow
def test_a_run_on_whole_images_too(tmp_path):
    tree = draw_tree(tmp_path / "tree")
    kill_twenty_times(tmp_path, yaml.safe_dump(values(tree, {"mixup": 0.2, "cutmix": 1.0}, epochs=4, save_every=2)))


def kill_twenty_times(tmp_path, text):
    """Check that runs of ``NUM_STEPS`` steps, whose config is ``text``, end as those do that nobody killed."""
    config = tmp_path / "tiny.yaml"
    config.write_text(text, encoding="utf-8")
    start(time.sleep, 0).join()  # what processes are forked from has to start first
    started = time.monotonic()
    whole = [begin(tmp_path, config, "--name", name) for name in ("whole", "whole too")]
    for process in whole:
        process.join()
    life = time.monotonic() - started  # of one beside another, as they are killed
    assert [process.exitcode for process in whole] == [0, 0]
    assert_same_run(tmp_path / "whole", tmp_path / "whole too")
    with ThreadPoolExecutor(2) as at_once:
        for chain in [at_once.submit(kill_and_resume, tmp_path, config, life, seed) for seed in range(2)]:
            chain.result()


def kill_and_resume(folder, config, life, seed):
    """Kill ``NUM_KILLS`` runs anywhere in lives of about ``life`` seconds, and check each that came to its end."""
    draw = random.Random(seed)
    kills, runs = 0, 1
    while True:
        killed = folder / f"killed {seed} {runs}"
        begun = (killed / "config.yaml").exists()
        done = is_done(killed)
        started = time.monotonic()
        process = begin(folder, *(("--resume", killed) if begun else (config, "--name", killed.name)))
        process.join(draw.uniform(0, life) if kills < NUM_KILLS else None)
        if process.is_alive():
            process.kill()
            process.join()
            kills += 1
            continue
        if not begun:
            life = time.monotonic() - started  # a machine that is less busy now would see few kills
        # Killed between its last saving and its end, a run has nothing left to go on with, and says so.
        assert process.exitcode == (2 if done else 0)
        assert_same_run(folder / "whole", killed)
        if kills == NUM_KILLS:
            return
        runs += 1
