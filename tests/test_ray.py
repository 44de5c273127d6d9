"""Ray as the engine, on a real local cluster."""

import json
import os
import signal
import threading
import time

import numpy as np
import pytest
from support import photo, write

import segdla
from segdla.data.images import read_mask
from segdla.machine.files import own_partial_files

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray's own
COUNT = 60


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    own_partial_files("")


def kill_a_worker(manifest):
    """Kill one of the actors with SIGKILL once something is done."""
    until = time.monotonic() + 240
    while time.monotonic() < until and not list(manifest.glob("part-*")):
        time.sleep(0.05)
    workers = sorted((manifest / "_work" / "workers").iterdir())
    os.kill(int(workers[0].name.split("-")[-2]), signal.SIGKILL)


def test_a_worker_of_two_is_killed_and_each_input_is_done_once(cluster, checkpoint, tmp_path):
    from segdla.ray import predict

    for index in range(COUNT):
        write(tmp_path / "photos" / f"{index:02}.png", photo(40, 48, index))
    paths = [str(tmp_path / name) for name in ("photos", "out", "jobs.jsonl")]
    killer = threading.Thread(target=kill_a_worker, args=[tmp_path / "jobs.jsonl"])
    killer.start()
    dataset = predict(paths[:1], *paths[1:], str(checkpoint), ["ids"], device="cpu", num_cpus=1)
    rows = dataset.take_all()
    killer.join()
    assert sorted(row["input"] for row in rows) == [str(tmp_path / "photos" / f"{i:02}.png") for i in range(COUNT)]
    assert {row["status"] for row in rows} == {"done"}
    parts = (tmp_path / "jobs.jsonl").glob("part-*")
    assert sum(len(part.read_text().splitlines()) for part in parts) == COUNT
    journals = [path.read_text().splitlines() for path in (tmp_path / "jobs.jsonl/_work/journals").glob("0*")]
    assert len({json.loads(journal[0])["worker"] for journal in journals}) >= 2
    segmenter = segdla.load(checkpoint, "cpu")
    for index in range(COUNT):
        expected = segmenter.predict(tmp_path / "photos" / f"{index:02}.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "out" / "ids" / f"{index:02}.png"), expected)


def test_batches_of_images(cluster, checkpoint):
    from segdla.ray import Segment

    images = [photo(16, 24, index) for index in range(4)]
    dataset = ray.data.from_items([{"image": image} for image in images]).map_batches(
        Segment,
        fn_constructor_args=[str(checkpoint)],
        fn_constructor_kwargs={"device": "cpu"},
        batch_size=2,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    segmenter = segdla.load(checkpoint, "cpu")
    for row in dataset.take_all():
        np.testing.assert_array_equal(row["class_ids"], segmenter.predict(np.asarray(row["image"])))
