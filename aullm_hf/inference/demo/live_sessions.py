"""Who is live, and which frame is next: a bounded number of sessions, each with one frame waiting at most.

Pure bookkeeping, without a clock or threads of its own. A frame that comes while another waits takes its place: when
the machine is too slow, frames are left out, and none is ever old. Every frame that is offered is left out or taken,
and never both.
"""

from dataclasses import dataclass
from typing import Any

from .live_analysis import STEP


class LiveBusyError(RuntimeError):
    """There is no room for another session."""


@dataclass
class LiveFrame:
    """One picture as it came."""

    time: float  # seconds of the visitor's clock
    picture: bytes
    answer: Any = None  # where its answer is waited for


@dataclass
class LiveSession:
    """One visitor's camera."""

    key: str
    seen: float  # when something last came of it
    turn: int  # when it was last served: the one who waits longest is next
    latest: float = float("-inf")  # time of the newest frame that was offered
    waiting: LiveFrame | None = None
    working: bool = False
    analysis: Any = None  # what has been seen of its stream


class LiveSessions:
    """The sessions there are.

    Args:
        most: sessions at a time.
        idle: seconds without a frame after which a session is forgotten.
    """

    def __init__(self, most: int, idle: float):
        self.most, self.idle = most, idle
        self.sessions: dict[str, LiveSession] = {}
        self._turns = 0

    def offer(self, key: str, frame: LiveFrame, now: float) -> LiveFrame | None:
        """Have a frame wait; the frame that is left out for it, which may be itself where a newer one came before."""
        self.forget_idle(now)
        if key not in self.sessions:
            if len(self.sessions) >= self.most:
                raise LiveBusyError(f"{self.most} others are live already; try again in a minute")
            self.sessions[key] = LiveSession(key, now, self._next_turn())
        session = self.sessions[key]
        session.seen = now
        if not frame.time >= session.latest + STEP:
            return frame
        left_out, session.waiting, session.latest = session.waiting, frame, frame.time
        return left_out

    def take(self) -> tuple[LiveSession, LiveFrame] | None:
        """The next frame to be looked at, of the session that has waited longest; None where none waits."""
        ready = [one for one in self.sessions.values() if one.waiting is not None and not one.working]
        if not ready:
            return None
        session = min(ready, key=lambda one: one.turn)
        frame, session.waiting = session.waiting, None
        session.working, session.turn = True, self._next_turn()
        return session, frame

    def stop(self, key: str) -> LiveFrame | None:
        """Forget a session; the frame of it that waited."""
        session = self.sessions.pop(key, None)
        return session.waiting if session else None

    def forget_idle(self, now: float) -> None:
        """Forget the sessions of which nothing has come for a while."""
        for session in list(self.sessions.values()):
            if not session.working and session.waiting is None and now - session.seen > self.idle:
                del self.sessions[session.key]

    def _next_turn(self) -> int:
        self._turns += 1
        return self._turns


__all__ = ["LiveBusyError", "LiveFrame", "LiveSession", "LiveSessions"]
