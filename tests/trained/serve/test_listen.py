"""The command from start to end, in a process of its own."""

import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request

import pytest
import torch
from processes import start
from serving import serve_in

from segdla.errors import UserError
from segdla.trained.serve.listen import address_of, bind, is_reachable_from_elsewhere


def test_a_port_that_is_taken(fails, checkpoint):
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        message = fails("serve", checkpoint, "--port", port)
    assert f"port {port} of 127.0.0.1 is taken; choose another: --port" in message


def test_addresses():
    with bind("localhost", 0) as listening:
        port = listening.getsockname()[1]
        assert address_of(listening).endswith(f":{port}") and not is_reachable_from_elsewhere(listening)
    with bind("0.0.0.0", 0) as listening:
        assert address_of(listening).startswith("http://localhost:") and is_reachable_from_elsewhere(listening)


@pytest.mark.parametrize("host", ["999.1.1.1", "192.0.2.1", "no.such.host.invalid", "a" * 70])
def test_an_address_of_another_machine(host):
    with pytest.raises(UserError, match=f"cannot listen on {host}: .*--host takes an address of this machine"):
        bind(host, 0)


@pytest.mark.parametrize("port", ["65536", "-1", "x"])
def test_a_port_that_is_none(fails, port):
    assert "is not a port, 0 to 65535" in fails("serve", f"--port={port}")


def test_the_extra_is_missing(fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "segdla.trained.serve.listen")
    assert 'the package uvicorn is not installed; pip install "segdla[serve]"' in fails("serve")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP lets idle threads be")
def test_the_processor_is_for_the_thread_that_answers(fails, monkeypatch, two_threads):
    def load(*_, **__):
        raise UserError(f"opened with {torch.get_num_threads()} threads")

    monkeypatch.setattr("segdla.trained.segmenter.load", load)
    assert "opened with 1 threads" in fails("serve", "--port=0") and torch.get_num_threads() == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(checkpoint, png, tmp_path, number):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "temporary"
    folder.mkdir()
    process = start(serve_in, folder, [str(checkpoint), "--port", str(port), "--device", "cpu"])
    end = time.monotonic() + 60
    while True:
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/api/png/ids", png(16, 16)[1])
            with urllib.request.urlopen(request, timeout=60) as response:
                assert response.status == 200
            break
        except urllib.error.URLError:
            assert time.monotonic() < end and process.is_alive()
            time.sleep(0.1)
    assert len([*folder.iterdir()]) == 1
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == 0
    assert [*folder.iterdir()] == []
