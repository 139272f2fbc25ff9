"""The live page's requests: a JPEG picture in, what is known of the stream out. Nothing of it touches a disk.

`POST /live/frame/SESSION?time=SECONDS` is answered once its picture was looked at, or left out for a newer one;
`POST /live/stop/SESSION` forgets the session. A session is 32 hexadecimal digits that the visitor draws. The type
image/jpeg has a browser ask before another site's page may send one, and the answer to that is no (`RequestLimits`).
"""

import asyncio
import base64
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

from ...data.errors import ClipError
from ...data.faces import import_cv2
from ..spotting.intervals import Interval
from ..spotting.spotter import MICRO
from .analysis import DemoError
from .live_analysis import LiveAnalysis, LiveUpdate, decode_frame
from .live_sessions import LiveBusyError, LiveFrame, LiveSession, LiveSessions
from .request_limits import LIVE_PATHS

logger = logging.getLogger(__name__)

LATEST = 1e6  # seconds that a stream lasts at most: eleven days
READING = 10.0  # seconds that a picture may take to come
FAILED = "The analysis failed. Whoever runs this page finds the reason in its log."


class LiveRequests:
    """ASGI middleware before Gradio's application. The machine looks at one frame at a time.

    Args:
        app: what answers all other requests.
        start: makes what looks at a new stream.
        most: sessions at a time.
        idle: seconds without a frame after which one is forgotten.
    """

    def __init__(self, app: Any, *, start: Callable[[], LiveAnalysis], most: int, idle: float):
        self.app, self.start = app, start
        self.sessions = LiveSessions(most, idle)
        self.reading = 0  # pictures that are coming in
        self.worker = ThreadPoolExecutor(1, thread_name_prefix="live")
        self.working: asyncio.Task | None = None

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not LIVE_PATHS.fullmatch(scope["path"]):
            return await self.app(scope, receive, send)
        what, key = scope["path"].split("/")[2:]
        if what == "stop":
            self._leave_out(self.sessions.stop(key))
            return await _answer(send, 200, {})
        headers = dict(scope["headers"])
        moment = _moment(scope["query_string"])
        if headers.get(b"content-type") != b"image/jpeg" or moment is None:
            return await _answer(send, 400, {"error": "give a picture of the type image/jpeg, and its time"})
        if self.reading >= 4 * self.sessions.most:
            return await _answer(send, 503, {"error": "others are being served; try again in a minute"})
        self.reading += 1
        try:
            async with asyncio.timeout(READING):
                picture = await _body(receive)
        except TimeoutError:
            return await _answer(send, 408, {"error": "the picture took too long to come"})
        finally:
            self.reading -= 1
        frame = LiveFrame(moment, picture, asyncio.get_running_loop().create_future())
        try:
            self._leave_out(self.sessions.offer(key, frame, time.monotonic()))
        except LiveBusyError as error:
            return await _answer(send, 503, {"error": str(error)})
        if self.working is None or self.working.done():
            self.working = asyncio.create_task(self._work())
        status, said = await frame.answer
        return await _answer(send, status, said)

    def _leave_out(self, frame: LiveFrame | None) -> None:
        if frame is not None and not frame.answer.done():
            frame.answer.set_result((200, {"left_out": True}))

    async def _work(self) -> None:
        """Look at what waits until nothing does."""
        loop = asyncio.get_running_loop()
        while taken := self.sessions.take():
            session, frame = taken
            try:
                result = await loop.run_in_executor(self.worker, self._look, session, frame)
            finally:
                session.working = False
            if not frame.answer.done():
                frame.answer.set_result(result)
        loop.call_later(self.sessions.idle + 1, lambda: self.sessions.forget_idle(time.monotonic()))

    def _look(self, session: LiveSession, frame: LiveFrame) -> tuple[int, dict]:
        begun = time.perf_counter()
        try:
            if session.analysis is None:
                session.analysis = self.start()
            update = session.analysis.add(frame.time, decode_frame(frame.picture))
        except (ClipError, DemoError) as error:
            return 422, {"error": str(error)}
        except Exception:  # a visitor is told so, whoever serves the page finds the reason in the log
            logger.exception("a live frame could not be looked at")
            return 500, {"error": FAILED}
        took = round(time.perf_counter() - begun, 4)
        return 200, update_json(update) | {"took": took, "remark": session.analysis.detector.warning}


def update_json(update: LiveUpdate) -> dict[str, Any]:
    """What the page draws."""
    probabilities = None if update.probabilities is None else [round(value, 4) for value in update.probabilities]
    expressions = [
        *(_expression(one, settled=True) for one in update.settled),
        *(_expression(one, settled=False) for one in update.unsettled),
    ]
    return {
        "time": update.time,
        "message": update.message,
        "face": None if update.face is None else _jpeg(update.face),
        "probabilities": probabilities,
        "expressions": expressions,
    }


def _expression(interval: Interval, *, settled: bool) -> dict[str, Any]:
    times = {name: round(getattr(interval, name), 3) for name in ("onset", "apex", "offset", "score")}
    kind = "micro" if interval.offset - interval.onset <= MICRO else "longer"
    return {**times, "kind": kind, "settled": settled}


def _jpeg(face: Any) -> str:
    return base64.b64encode(import_cv2().imencode(".jpg", face)[1].tobytes()).decode("ascii")


def _moment(query: bytes) -> float | None:
    """The time of a frame; None where it is no number of seconds."""
    try:
        value = float(parse_qs(query.decode("ascii"))["time"][0])
    except (KeyError, ValueError):
        return None
    return value if 0 <= value <= LATEST else None


async def _body(receive: Any) -> bytes:
    """A request's body; `RequestLimits` has looked at its length."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Any, status: int, said: dict) -> None:
    body = json.dumps(said, allow_nan=False).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "cache-control": "no-store"}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


__all__ = ["LiveRequests", "update_json"]
