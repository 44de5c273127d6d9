"""The S3 protocol, spoken with a server on this machine: odd names, and buckets that refuse."""

import json
import os
import shutil
import subprocess
import sys
import time
import tracemalloc

import pytest
import torch

pytest.importorskip("s3fs", reason="s3fs is not installed: pip install -r requirements-dev.txt")
pytest.importorskip("moto", reason="moto is not installed: pip install -r requirements-dev.txt")

from bucket import ENVIRONMENT, bucket_server, mood
from processes import start
from support import photo

import segdla
from segdla.data.image_writer import encode_image
from segdla.data.scenes import Scenes
from segdla.errors import UserError
from segdla.machine.files import write_whole
from segdla.machine.remote import local_tier, object_store
from segdla.machine.remote.object_store import list_folder, object_state, read_object, walk_objects, write_object
from segdla.machine.remote.remote_path import RemotePath
from segdla.machine.remote.storage_errors import StorageError
from segdla.media.outputs import Output
from segdla.trained.file_job import FileJob

KEYS = ["a b.png", "ü/日本.png", "c?d#e%20f+g&h.png", "it's [x] (1)=2.png"]
NUM_STEPS = 12
CONFIG = """
data: {dataset: folder, root: 's3://photos/set', classes: NAMES, crop: [32, 32], workers: 2,
       train: {images: train/images, masks: train/masks}, val: {images: val/images, masks: val/masks}}
model: {backbone: dla46_c, output_stride: 8}
train: {epochs: 6, batch_size: 4, eval_every: 3, save_every: 2, device: cpu}
"""


@pytest.fixture(scope="module")
def server():
    with bucket_server() as address:
        yield address


@pytest.fixture(autouse=True)
def bucket(server, monkeypatch):
    """The address of the server, in the environment as users give it; a bucket, without moods."""
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": server}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(local_tier, "_states", {})
    for name in ("refuse", "expire", "read-only", "many"):
        mood(server, name)
    system = object_store._system("s3://photos")
    if not system.exists("photos"):
        system.mkdir("photos")
    yield server
    object_store._systems.clear()


def test_keys_with_spaces_and_of_all_alphabets_are_listed_and_read():
    for key in KEYS:
        write_object(f"s3://photos/odd/{key}", key.encode())
    found = {f"{url}/{name}" for url, listing in walk_objects("s3://photos/odd") for name in listing.objects}
    assert found == {f"s3://photos/odd/{key}" for key in KEYS}
    assert all(read_object(url).decode() == url.removeprefix("s3://photos/odd/") for url in found)
    assert all(RemotePath(url).read_text("utf-8") == url.removeprefix("s3://photos/odd/") for url in found)


def test_a_listing_tells_the_same_state_as_a_question():
    write_object("s3://photos/one/a", b"1")
    assert list_folder("s3://photos/one").objects["a"] == object_state("s3://photos/one/a")
    assert object_state("s3://photos/one") is None


def test_a_bucket_that_refuses(bucket):
    write_object("s3://photos/private/a", b"1")
    mood(bucket, "refuse", "/photos")
    for call in (lambda: read_object("s3://photos/private/a"), lambda: list(walk_objects("s3://photos/private"))):
        with pytest.raises(StorageError, match=r"s3://photos/private\S*: access denied \(.*\); ask for the right"):
            call()


def test_a_bucket_that_is_not_there():
    with pytest.raises(StorageError, match="cannot list s3://nowhere/photos: there is no such bucket; check its name"):
        list(walk_objects("s3://nowhere/photos"))


def test_a_token_that_expires_in_the_middle(bucket):
    write_object("s3://photos/private/a", b"1")
    mood(bucket, "expire", "1")
    assert read_object("s3://photos/private/a") == b"1"
    with pytest.raises(StorageError, match=r"private/a: the credentials have expired; renew them \(aws sso login"):
        read_object("s3://photos/private/a")


def test_an_output_bucket_that_is_read_only_is_answered_before_anything_is_predicted(bucket):
    mood(bucket, "read-only", "/photos")
    output = Output(RemotePath("s3://photos/masks"), ("ids",), ("a", "b"), ((0, 0, 0), (9, 9, 9)))
    with pytest.raises(UserError, match=r"cannot write s3://photos/masks/\.segdla-output: access denied"):
        output.begin(new=False)


def test_secrets_are_in_no_message(bucket):
    mood(bucket, "refuse", "/photos")
    with pytest.raises(StorageError) as caught:
        read_object("s3://photos/private/a")
    assert not any(secret in str(caught.value) for secret in (ENVIRONMENT["AWS_SECRET_ACCESS_KEY"], "Signature"))


@pytest.mark.slow
def test_a_run_on_a_bucket_is_killed_and_resumed_to_the_same_bits_by_one_process_and_by_two(bucket, tmp_path):
    for i, split in enumerate(["train"] * 8 + ["val"] * 2):
        image, mask = Scenes("train", 10, (64, 64)).read(i)
        for kind, content in (("images", encode_image(image)), ("masks", encode_image(mask))):
            write_object(f"s3://photos/set/{split}/{kind}/ä {i}.png", content)
            write_whole(tmp_path / "set" / split / kind / f"ä {i}.png", content)
    config = tmp_path / "remote.yaml"
    config.write_text(CONFIG.replace("NAMES", str(list(Scenes.classes.names))), encoding="utf-8")
    environment = {**os.environ, "SEGDLA_CACHE": str(tmp_path / "tier"), "OMP_NUM_THREADS": "1"}

    def segdla(*argv, processes=1):
        launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
        command = [sys.executable, *launch, "-m", "segdla", "train", "--runs", str(tmp_path), *argv]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def killed(name):
        shutil.rmtree(tmp_path / "tier", ignore_errors=True)  # so that objects still come when it is resumed
        running = segdla(str(config), "--name", name)
        while not (tmp_path / name / "last.pt").exists():
            assert running.poll() is None, "the run ended before it was killed"
            time.sleep(0.01)
        running.kill()
        running.wait()
        assert state(name)["step"] < NUM_STEPS
        return tmp_path / name

    def state(name):
        return torch.load(tmp_path / name / "last.pt", weights_only=True)

    def assert_same(name, other):
        assert state(name)["step"] == state(other)["step"] == NUM_STEPS
        for key, weights in state(name)["model"].items():
            assert torch.equal(weights, state(other)["model"][key]), key

    assert segdla(str(config), "--name", "whole").wait() == 0
    assert segdla("--resume", str(killed("killed"))).wait() == 0
    assert_same("whole", "killed")
    by_two = killed("by two")
    local = shutil.copytree(by_two, tmp_path / "local")  # goes on with the same files on a disk
    text = (local / "config.yaml").read_text(encoding="utf-8")
    (local / "config.yaml").write_text(text.replace("s3://photos/set", str(tmp_path / "set")), encoding="utf-8")
    for run in (by_two, local):
        assert segdla("--resume", str(run), processes=2).wait() == 0
    assert_same("by two", "local")


def share_in_a_job(network):
    """Be a worker that counts as dead after ten seconds without a sign of life."""
    segmenter = segdla.load(network, "cpu")
    urls = "s3://photos/album", RemotePath("s3://photos/masks"), "s3://photos/jobs.jsonl"
    files = FileJob(urls[:1], *urls[1:], segmenter, ["ids"], patience=10)
    with files.worker() as job:
        job.work(files.predicted())


@pytest.mark.slow
def test_a_job_whose_manifest_and_outputs_lie_in_a_bucket_outlives_a_kill(checkpoint, tmp_path):
    images = {f"ä {index:03}": photo(24, 32, index) for index in range(120)}
    for name, image in images.items():
        write_object(f"s3://photos/album/{name}.png", encode_image(image))

    def parts():
        return [name for name in list_folder("s3://photos/jobs.jsonl").objects if name.startswith("part-")]

    workers = [start(share_in_a_job, checkpoint) for _ in range(2)]
    while len(parts()) < 20:
        assert any(worker.is_alive() for worker in workers)
        time.sleep(0.01)
    workers[0].kill()
    workers[0].join()
    assert len(parts()) < len(images)
    third = start(share_in_a_job, checkpoint)
    for worker in (workers[1], third):
        worker.join()
        assert worker.exitcode == 0
    records = [
        json.loads(line) for name in parts() for line in read_object(f"s3://photos/jobs.jsonl/{name}").splitlines()
    ]
    assert sorted(record["input"] for record in records) == [f"s3://photos/album/{name}.png" for name in images]
    assert {record["status"] for record in records} == {"done"}
    segmenter = segdla.load(checkpoint, "cpu")
    assert list_folder("s3://photos/masks/ids").objects.keys() == {f"{name}.png" for name in images}
    for name, image in images.items():
        content = read_object(f"s3://photos/masks/ids/{name}.png")
        assert content == encode_image(segmenter.predict(image)), name


@pytest.mark.slow
def test_a_hundred_thousand_keys_are_listed_in_little_memory(bucket):
    mood(bucket, "many", "100000")
    tracemalloc.start()
    number = sum(len(listing.objects) for _, listing in walk_objects("s3://photos/many"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == 100_000
    assert peak < 250e6, peak
