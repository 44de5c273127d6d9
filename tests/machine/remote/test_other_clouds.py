"""Google's and Azure's protocols, spoken with emulators on this machine, where they are installed."""

import json
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from support import photo

from segdla.data.image_writer import encode_image
from segdla.machine.remote import local_tier, object_store
from segdla.machine.remote.object_store import (
    create_object,
    list_folder,
    object_state,
    read_object,
    remove_object,
    walk_objects,
    write_object,
)
from segdla.machine.remote.remote_path import RemotePath
from segdla.machine.remote.storage_errors import StorageError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # those of the clients
KEYS = ["a b.png", "ü/日本.png", "c?d e%20f+g&h.png", "i#j.png", "it's [x] (1)=2.png"]
GS, AZ = "gs://photos", "az://photos"
AZURITE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IF"
    "suFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://127.0.0.1:{}/devstoreaccount1;"
)  # the key that Microsoft publishes for it
COMMANDS = {
    GS: ["fake-gcs-server", "-scheme", "http", "-host", "127.0.0.1", "-backend", "memory", "-port", "{}"],
    AZ: ["azurite-blob", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--blobPort", "{}"],
}
PACKAGES = {GS: "gcsfs", AZ: "adlfs"}
PLACES = {GS: "github.com/fsouza/fake-gcs-server", AZ: "npm install azurite"}


@contextmanager
def emulator(url, folder):
    """Run the emulator of a URL's cloud; yield its port."""
    pytest.importorskip(PACKAGES[url], reason=f"{PACKAGES[url]} is not installed")
    command = COMMANDS[url]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not on PATH ({PLACES[url]})")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [word.format(port) for word in command]
    command += ["-public-host", f"127.0.0.1:{port}"] if url == GS else []
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert process.poll() is None, f"{command} has ended"
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module", params=[GS, AZ])
def server(request, tmp_path_factory):
    with emulator(request.param, tmp_path_factory.mktemp("emulator")) as port:
        yield request.param, port


@pytest.fixture
def bucket(server, monkeypatch):
    """The URL of a bucket, whose server is in the environment as users give it."""
    url, port = server
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", AZURITE.format(port))
    monkeypatch.setattr(local_tier, "_states", {})
    system = object_store._system(url)
    if not system.exists("photos"):
        system.call("POST", "b", project="p", json={"name": "photos"}) if url == GS else system.mkdir("photos")
    yield url
    object_store._systems.clear()


def test_keys_with_spaces_and_of_all_alphabets_are_listed_and_read(bucket):
    for key in KEYS:
        write_object(f"{bucket}/odd/{key}", key.encode())
    found = {f"{url}/{name}" for url, listing in walk_objects(f"{bucket}/odd") for name in listing.objects}
    assert found == {f"{bucket}/odd/{key}" for key in KEYS}
    assert all(RemotePath(url).read_text("utf-8") == url.removeprefix(f"{bucket}/odd/") for url in found)


def test_a_listing_tells_the_same_state_as_a_question_and_a_change_another_one(bucket):
    write_object(f"{bucket}/one/a", b"1")
    before = object_state(f"{bucket}/one/a")
    assert list_folder(f"{bucket}/one").objects["a"] == before
    assert object_state(f"{bucket}/one") is None
    write_object(f"{bucket}/one/a", b"2")
    assert object_state(f"{bucket}/one/a") != before


def test_one_of_many_writers_creates_an_object(bucket):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: create_object(f"{bucket}/race", str(number).encode()), range(16)))
    assert sum(made) == 1
    assert read_object(f"{bucket}/race") == str(made.index(True)).encode()
    remove_object(f"{bucket}/race")
    assert create_object(f"{bucket}/race", b"again")


def test_what_is_not_there(bucket):
    assert list_folder(f"{bucket}/nowhere") == ([], {})
    for call in (read_object, object_state):
        with pytest.raises(FileNotFoundError):
            call(f"{bucket}/nowhere")
    remove_object(f"{bucket}/nowhere")
    elsewhere = bucket.replace("photos", "elsewhere")
    with pytest.raises(StorageError, match=f"cannot write {elsewhere}/a: there is no such bucket; check its name"):
        write_object(f"{elsewhere}/a", b"1")


def test_a_job_within_a_bucket(bucket, tool, checkpoint, tmp_path):
    for index in range(4):
        write_object(f"{bucket}/album/ä {index}.png", encode_image(photo(20, 30, index)))
    common = "--checkpoint", checkpoint, "--device", "cpu", "--output-kind", "ids"
    predict = tool("predict")
    assert predict(f"{bucket}/album", "--output", "plain", *common) == 0
    for _ in range(2):  # the second one finds all done
        job = "--output", f"{bucket}/masks", "--manifest", f"{bucket}/jobs.jsonl"
        assert predict(f"{bucket}/album", *job, *common) == 0
    for path in (tmp_path / "plain" / "ids").glob("*.png"):
        assert read_object(f"{bucket}/masks/ids/{path.name}") == path.read_bytes()
    parts = [name for name in list_folder(f"{bucket}/jobs.jsonl").objects if name.startswith("part-")]
    records = [json.loads(read_object(f"{bucket}/jobs.jsonl/{name}")) for name in parts]
    assert sorted(record["input"] for record in records) == [f"{bucket}/album/ä {index}.png" for index in range(4)]
