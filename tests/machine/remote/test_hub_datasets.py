"""Data sets of the Hugging Face Hub, read by URL from a stand-in of it on this machine."""

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

import fsspec.config
import numpy as np
import pytest
from support import photo

pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")

from segdla.config import parse
from segdla.data.from_config import open_split
from segdla.data.image_writer import encode_image
from segdla.errors import UserError
from segdla.machine.remote import object_store
from segdla.machine.remote.object_store import list_folder, object_state, read_object, walk_objects
from segdla.machine.remote.storage_errors import StorageError

SET = "hf://datasets/owner/name"


class Handler(BaseHTTPRequestHandler):
    """The addresses of the hub that a file system asks for: a repository, a folder, a file."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, files = unquote(urlsplit(self.path).path), self.server.files
        if not path.startswith(("/api/datasets/owner/name", "/datasets/owner/name/")):
            return self.answer(401, error="RepoNotFound")
        if path == "/api/datasets/owner/name":
            return self.answer(200, json.dumps({"id": "owner/name", "sha": "0" * 40}).encode())
        folder = path.removeprefix("/api/datasets/owner/name/tree/main")
        if folder != path:
            return self.answer(200, json.dumps(self.listing(f"{folder.strip('/')}/".lstrip("/"))).encode())
        content = files.get(path.removeprefix("/datasets/owner/name/resolve/main/"))
        return self.answer(404, error="EntryNotFound") if content is None else self.answer(200, content)

    def listing(self, prefix):
        files = {name: content for name, content in self.server.files.items() if name.startswith(prefix)}
        here = {prefix + name.removeprefix(prefix).partition("/")[0] for name in files}
        return [
            {"type": "file", "path": name, "size": len(files[name]), "oid": hashlib.sha1(files[name]).hexdigest()}
            if name in files
            else {"type": "directory", "path": name, "size": 0, "oid": "0" * 40}
            for name in sorted(here)
        ]

    def answer(self, status, content=b"", error=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words):
        pass


@pytest.fixture
def files(monkeypatch):
    """The files of the data set that the stand-in serves, by their names; to be filled."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.files = True, {}
    monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": f"http://127.0.0.1:{server.server_port}"})
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.files
    server.shutdown()
    thread.join()
    server.server_close()
    object_store._systems.clear()
    fsspec.get_filesystem_class("hf").clear_instance_cache()


def test_files_are_listed_and_read(files):
    files |= {"a b.png": b"1", "deep/ü.png": b"22"}
    found = {f"{url}/{name}" for url, listing in walk_objects(SET) for name in listing.objects}
    assert found == {f"{SET}/a b.png", f"{SET}/deep/ü.png"}
    assert read_object(f"{SET}/deep/ü.png") == b"22"
    assert list_folder(SET).objects["a b.png"] == object_state(f"{SET}/a b.png")
    assert object_state(f"{SET}/deep") is None
    with pytest.raises(FileNotFoundError):
        read_object(f"{SET}/none.png")


def test_a_repository_that_is_not_there_is_told_at_once(files):
    with pytest.raises(StorageError, match=r"there is no such repository, or not for you; check its name, or log in"):
        list_folder("hf://datasets/owner/another")


def test_a_data_set_is_read_in_place_and_a_folder_that_is_not_there_named(files):
    mask = (photo(16, 24)[..., 0] > 99).astype(np.uint8)
    files |= {"images/a.png": encode_image(photo(16, 24)), "masks/a.png": encode_image(mask)}

    def opened(images):
        split = {"images": images, "masks": "masks"}
        data = {"dataset": "folder", "root": SET, "classes": ["a", "b"], "train": split, "val": split}
        return open_split(parse({"data": data}), "train")

    image, target = opened("images").read(0)
    assert (image == photo(16, 24)).all() and (target == mask).all()
    with pytest.raises(UserError, match=f"no directory {SET}/imagse; check the path"):
        opened("imagse")
