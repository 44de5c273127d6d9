"""Who may use the service: programs, and its own page. Pages of other sites may not, by whatever name they call it."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segdla.errors import quoted

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Guard:
    """An ASGI middleware that refuses requests of other sites' pages, and tells browsers what the own page may do.

    A request's Host has to be an address, ``localhost`` or one of ``names``: a name of an attacker's, made to lead here
    (DNS rebinding), is none of them. Its Origin, which browsers add, has to be that host.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = ()):
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        complaint = self._complaint(Headers(scope=scope))
        answer = JSONResponse({"detail": complaint}, 403) if complaint else self._app
        await answer(scope, receive, send_with_headers)

    def _complaint(self, headers: Headers) -> str:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_known(host):
            return f"the host {quoted(host)} is not known here; segdla serve --name HOST allows it"
        if origin is not None and origin.lower() not in {f"{scheme}://{host.lower()}" for scheme in ("http", "https")}:
            return f"pages of {quoted(origin)} may not use this service"
        return ""

    def _is_known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:  # as of [x]
            return False
        return name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
