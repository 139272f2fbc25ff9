"""What a visitor may ask of the demo's server, whatever page or program asks: held before Gradio sees the request.

Gradio serves much that this page has no use for, bounds each file of an upload but not how many there are, and takes a
body of any size elsewhere. Here: nothing is sent to addresses that the page does not call, requests say how long they
are, so many uploads come at a time, so much of them lies on the disk, and on this machine's own address the page goes
by no other name (a web site that has its name point here could otherwise read what is shown to you).
"""

import asyncio
import os
import re
from contextlib import suppress
from typing import Any

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_JSON_BYTES = 1 << 16  # bytes: of what names an upload or an example
MAX_FRAME_BYTES = 1 << 18  # of a picture of the live page
CLOSED_PATHS = re.compile(
    r"/gradio_api/(proxy=|stream/|call/|run/|api/|deep_link|run-history|runs|dev/|openapi|mcp|custom_component/|token)"
    r"|/(docs|redoc|openapi|logout|login|runs|monitoring)"
)  # to read
LIVE_PATHS = re.compile(r"/live/(frame|stop)/[0-9a-f]{32}")
POST_PATHS = re.compile(rf"/gradio_api/(queue/join|upload|reset|cancel)/?|{LIVE_PATHS.pattern}")


class RequestLimits:
    """ASGI middleware around Gradio's application."""

    def __init__(self, app: Any, *, upload_bytes: int, at_once: int, seconds: float, own_hosts_only: bool):
        self.app, self.upload_bytes, self.at_once, self.seconds = app, upload_bytes, at_once, seconds
        self.own_hosts_only = own_hosts_only
        self.coming: list[int] = []  # bytes of the uploads that are under way

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # the page has no use for websockets
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path, uploads = scope["path"], scope["path"].rstrip("/") == "/gradio_api/upload"
        if self.own_hosts_only and _name_of(headers.get("host", "")) not in LOOPBACK:
            return await _refuse(send, 421, "this page is served under this machine's own address only")
        sends = scope["method"] == "POST"
        closed = not POST_PATHS.fullmatch(path) if sends else CLOSED_PATHS.match(path)
        if closed or scope["method"] not in ("GET", "HEAD", "POST"):
            return await _refuse(send, 404, "the page has nothing there")
        if sends:
            length, most = headers.get("content-length", ""), self._most_bytes(path, uploads)
            if not length.isdecimal() or "transfer-encoding" in headers:
                return await _refuse(send, 411, "say how long the request is")
            if int(length) > most:
                return await _refuse(send, 413, f"{length} bytes; at most {most} are taken here")
        if not (sends and uploads):
            return await self.app(scope, receive, send)
        room = self.at_once * self.upload_bytes - _stored() - sum(self.coming)
        if len(self.coming) >= self.at_once or int(length) > room:
            return await _refuse(send, 503, "others are being served; try again in a minute")
        self.coming.append(int(length))
        try:
            async with asyncio.timeout(self.seconds):
                await self.app(scope, receive, send)
        except TimeoutError:
            pass  # the line is closed without an answer
        finally:
            self.coming.remove(int(length))

    def _most_bytes(self, path: str, uploads: bool) -> int:
        if uploads:
            return self.upload_bytes
        return MAX_FRAME_BYTES if LIVE_PATHS.fullmatch(path) else MAX_JSON_BYTES


def _name_of(host: str) -> str:
    """Without the port."""
    return host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]


def _stored() -> int:
    """Bytes of uploads that lie on the disk, some of which are deleted meanwhile."""
    total = 0
    for folder, _, names in os.walk(os.environ.get("GRADIO_TEMP_DIR") or ""):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(folder, name)).st_size
    return total


async def _refuse(send: Any, status: int, why: str) -> None:
    body = why.encode()
    headers = {"content-type": "text/plain", "content-length": str(len(body)), "connection": "close"}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


__all__ = ["LIVE_PATHS", "LOOPBACK", "MAX_FRAME_BYTES", "RequestLimits"]
