"""A stand-in of the Hugging Face Hub on this machine: it serves files of repositories over HTTP, well or badly."""

import hashlib
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Hub:
    """``files``: content by "OWNER/NAME/FILE". ``breaks``: so many downloads end half-way. ``lies``: of the SHA-256."""

    files: dict[str, bytes] = field(default_factory=dict)
    breaks: int = 0
    lies: bool = False
    asked: list[str] = field(default_factory=list)
    """Methods and, of a download that goes on, where from: GET, GET 1000."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(whole=False)

    def do_GET(self):
        self.answer(whole=True)

    def answer(self, whole):
        hub = self.server.hub
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", self.path)
        repo, name = match.groups() if match else ("", "")
        content = hub.files.get(f"{repo}/{name}")
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if match:
            hub.asked.append(self.command + (f" {start}" if start else ""))
        if content is None:
            is_there = any(file.startswith(f"{repo}/") for file in hub.files)
            self.send_response(404 if is_there else 401)
            self.send_header("X-Error-Code", "EntryNotFound" if is_there else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        digest = hashlib.sha256(content + b"another" * hub.lies).hexdigest()
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if whole and hub.breaks:
            hub.breaks -= 1
            self.wfile.write(content[start : start + (len(content) - start) // 2])
            self.close_connection = True
        elif whole:
            self.wfile.write(content[start:])

    def log_message(self, *words):
        pass


@contextmanager
def serving(monkeypatch, cache):
    """Yield a hub that huggingface_hub asks in place of the real one; its cache is the folder ``cache``."""
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.hub = Hub()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)  # smaller files break off too
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
