"""A service in this process, on a free port, and requests to it."""

import http.client
import json
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")


class Client:
    """Requests to a service, each on a connection of its own."""

    def __init__(self, address, server):
        self.address = address
        self.server = server
        self.host = address.removeprefix("http://")

    def connect(self):
        return http.client.HTTPConnection(self.host, timeout=60)

    def get(self, path, **headers):
        return self.ask("GET", path, None, headers)

    def post(self, path, body=b"", **headers):
        return self.ask("POST", path, body, headers)

    def ask(self, method, path, body, headers):
        """Return status, headers and body; the body as values, if it is JSON."""
        connection = self.connect()
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, response.headers, json.loads(content) if is_json else content


@contextmanager
def serving(segmenter, limits=None, names=()):
    """Yield the client of a service; at its end, nothing may be left of what was uploaded."""
    from segdla.trained.serve.app import create_app
    from segdla.trained.serve.listen import Server, address_of, bind

    with tempfile.TemporaryDirectory() as folder, bind("127.0.0.1", 0) as listening:
        app = create_app(segmenter, Path(folder), limits, names)
        server = Server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Client(address_of(listening), server)
        finally:
            server.should_exit = True
            thread.join()
            app.state.queue.close()
        assert [*Path(folder).iterdir()] == []


def serve_in(folder, argv):
    """Run ``segdla serve`` with temporary files in ``folder``; return its exit status."""
    from support import run_tool

    tempfile.tempdir = str(folder)
    return run_tool("serve", *argv)
