"""A service on an address of this machine, until it is asked to end."""

import asyncio
import errno
import ipaddress
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Collection
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from segdla.errors import UserError
from segdla.machine.signals import HANG_UP, ending_signals
from segdla.machine.terminal import say
from segdla.trained.segmenter import Segmenter
from segdla.trained.serve.app import create_app
from segdla.trained.serve.limits import Limits

_PATIENCE = 5  # seconds for what is being answered, at the end


def bind(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes any that is free. Raises UserError if that can't be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        code = getattr(error, "errno", None)
        if code == errno.EADDRINUSE:
            raise UserError(f"port {port} of {host} is taken; choose another: --port {port + 1}") from error
        if code == errno.EACCES:
            raise UserError(f"port {port} may not be listened on by you; choose one above 1023 (--port)") from error
        reason = str(error) if isinstance(error, socket.gaierror | UnicodeError) else os.strerror(code or 0)
        raise UserError(
            f"cannot listen on {host}: {reason}; --host takes an address of this machine, as 127.0.0.1 or 0.0.0.0"
        ) from error


def address_of(listening: socket.socket) -> str:
    """Return the address that a browser on this machine opens."""
    host, port = listening.getsockname()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        return f"http://localhost:{port}"
    return f"http://[{host}]:{port}" if address.version == 6 else f"http://{host}:{port}"


def is_reachable_from_elsewhere(listening: socket.socket) -> bool:
    """Return whether other machines may reach it."""
    return not ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


class Server(uvicorn.Server):
    """The server of an application: errors are logged, requests are not."""

    def __init__(self, app: FastAPI):
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        super().__init__(_config(app))
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end: what is being computed is the last."""
        self._app.state.queue.end()
        super().handle_exit(sig, frame)


def _is_news(record: logging.LogRecord) -> bool:
    """Return False for a request that was cancelled at the end, which is no error."""
    kind = record.exc_info and record.exc_info[0]
    return not (kind and issubclass(kind, asyncio.CancelledError))


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="error",
        timeout_graceful_shutdown=_PATIENCE,
    )


def serve(
    segmenter: Segmenter, listening: socket.socket, limits: Limits | None = None, names: Collection[str] = ()
) -> None:
    """Say where a segmenter is served, and serve it until Ctrl-C or SIGTERM; then, answers have a few seconds more.

    ``names`` are host names by which browsers may reach it, besides addresses and localhost.
    """
    with tempfile.TemporaryDirectory(prefix="segdla-serve-") as folder:
        app = create_app(segmenter, Path(folder), limits, names)
        server = Server(app)
        if is_reachable_from_elsewhere(listening):
            say("other machines can reach this one: whoever does can use it, without a password")
        say(f"open {address_of(listening)} in a browser; Ctrl-C ends it")
        at_hang_up = None
        if HANG_UP is not None and HANG_UP in ending_signals():
            at_hang_up = signal.signal(HANG_UP, server.handle_exit)
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:  # which uvicorn raises once it has ended in order; so it is meant to end
            pass
        finally:
            if HANG_UP is not None and at_hang_up is not None:
                signal.signal(HANG_UP, at_hang_up)
            app.state.queue.close()
