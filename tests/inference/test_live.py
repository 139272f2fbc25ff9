"""The live page without a browser: who is served when, what is seen of a stream, and in how much memory."""

import asyncio
import json
import threading
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.data.errors import ClipError
from aullm_hf.data.synthetic.recordings import synthetic_recording
from aullm_hf.inference import ExpressionSpotter
from aullm_hf.inference.demo.live_analysis import MAX_SIDE, SIDE, STEP, LiveAnalysis, decode_frame
from aullm_hf.inference.demo.live_requests import LiveRequests
from aullm_hf.inference.demo.live_sessions import LiveBusyError, LiveFrame, LiveSessions
from aullm_hf.inference.spotting.stream import HORIZON, SETTLED
from support.videos import noise

FPS = 25.0
MOST, IDLE = 2, 10.0


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


# ---------------------------------------------------------------------- sessions

KEYS = st.sampled_from("abc")
STEPS = st.one_of(
    st.tuples(st.just("offer"), KEYS, st.floats(0, 3)),
    st.tuples(st.just("take")),
    st.tuples(st.just("done")),
    st.tuples(st.just("stop"), KEYS),
    st.tuples(st.just("pass"), st.floats(0, 2 * IDLE)),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=60))
def test_every_frame_is_taken_or_left_out_and_the_newest_is_next(steps):
    sessions, now, working = LiveSessions(MOST, IDLE), 0.0, []
    offered, taken, left_out = [], [], []
    newest: dict[str, float] = {}  # since the session began
    for step in steps:
        known = set(sessions.sessions)
        if step[0] == "offer":
            frame = LiveFrame(step[2], b"")
            try:
                out = sessions.offer(step[1], frame, now)
            except LiveBusyError:
                assert step[1] not in known and len(sessions.sessions) == MOST
                continue
            newest = {key: time for key, time in newest.items() if key in sessions.sessions and key in known}
            offered.append(frame)
            left_out += [out] if out is not None else []
            assert (out is frame) == (frame.time < newest.get(step[1], -1e9) + STEP)
            newest[step[1]] = max(newest.get(step[1], -1e9), frame.time) if out is not frame else newest[step[1]]
        elif step[0] == "take":
            ready = [one for one in sessions.sessions.values() if one.waiting is not None and not one.working]
            got = sessions.take()
            assert (got is None) == (not ready)
            if got:
                assert got[0].turn > max((one.turn for one in ready if one is not got[0]), default=0)
                assert got[1].time == newest[got[0].key], "an older frame was taken"
                taken.append(got[1])
                working.append(got[0])
        elif step[0] == "done" and working:
            working.pop(0).working = False
        elif step[0] == "stop":
            out = sessions.stop(step[1])
            left_out += [out] if out is not None else []
            assert step[1] not in sessions.sessions
        elif step[0] == "pass":
            now += step[1]
        assert len(sessions.sessions) <= MOST
    waiting = [one.waiting for one in sessions.sessions.values() if one.waiting is not None]
    assert sorted(map(id, offered)) == sorted(map(id, taken + left_out + waiting))


def test_nobody_is_served_twice_while_another_waits():
    sessions = LiveSessions(3, IDLE)
    served = []
    for turn in range(12):
        for key in "abc"[: 1 + (turn > 0) + (turn > 1)]:
            sessions.offer(key, LiveFrame(float(turn), b""), 0.0)
        session, _ = sessions.take()
        session.working = False
        served.append(session.key)
    assert all(set(served[at : at + 3]) == set("abc") for at in range(2, 10))


def test_a_session_that_sends_nothing_is_forgotten():
    sessions = LiveSessions(1, IDLE)
    sessions.offer("a", LiveFrame(0.0, b""), now=0.0)
    session, _ = sessions.take()
    with pytest.raises(LiveBusyError, match="1 others are live already"):
        sessions.offer("b", LiveFrame(0.0, b""), now=IDLE + 1)  # it is being looked at
    session.working = False
    assert sessions.offer("b", LiveFrame(0.0, b""), now=IDLE + 1) is None
    assert set(sessions.sessions) == {"b"}


# ------------------------------------------------------------------------ stream


@pytest.fixture(scope="module")
def recording() -> list[np.ndarray]:
    return list(synthetic_recording(seconds=24, fps=FPS, seed=12))


class Unasked:
    """A detector whose model takes no time, where only the motion matters."""

    def __init__(self, detector):
        self.reader, self.processor = detector.reader, detector.processor

    def probabilities(self, clips):
        return np.zeros((len(clips), 3))


@pytest.fixture(scope="module")
def streamed(recording, make_detector):
    """(the analysis at the end, every update) of a recording that came as a stream."""
    analysis = LiveAnalysis(Unasked(make_detector()))
    return analysis, [analysis.add(at / FPS, frame) for at, frame in enumerate(recording)]


def test_a_stream_has_the_expressions_of_the_recording(streamed, recording):
    _, updates = streamed
    table = next(ExpressionSpotter(face="none", fps=FPS).spot(np.stack(recording)))
    table = table[(table["reason"] == "") & (table["peak"] < 24 - SETTLED - 1)]
    live = updates[-1].settled
    assert len(table) > 0 and len(live) == len(table)
    for one, row in zip(live, table.to_dict("records"), strict=True):
        assert abs(one.onset - row["start"]) < 0.05 and abs(one.offset - row["end"]) < 0.05
        assert one.score == pytest.approx(row["score"], abs=0.02)


def test_a_settled_expression_does_not_change(streamed):
    _, updates = streamed
    for before, after in pairwise(updates):
        assert after.settled[: len(before.settled)] == before.settled
        assert all(one.apex < after.time - SETTLED + 0.3 for one in after.settled)


def test_the_aus_are_those_of_the_last_second(recording, make_detector):
    detector = make_detector()
    analysis = LiveAnalysis(detector)
    updates = [analysis.add(at / 5, frame) for at, frame in enumerate(recording[:60:5])]
    assert updates[1].probabilities is None and all(one.probabilities for one in updates[2:])
    (clip,) = detector.read(np.stack(recording[30:60:5]))
    np.testing.assert_allclose(updates[-1].probabilities, detector.probabilities([clip])[0], atol=1e-6)


def test_what_is_kept_has_a_bound(streamed):
    analysis, _ = streamed
    stretches = analysis.watch.faces[0].stretches
    assert sum(len(stretch.times) for stretch in stretches) <= (HORIZON + 0.1) * FPS
    assert len(analysis.frames) <= FPS + 1 and len(analysis.watch.reasons) <= 1
    assert all(len(face.boxes) <= 1 for face in analysis.watch.faces.values())


@pytest.mark.parametrize("fps", [2.5, 100.0])
def test_any_rate_and_any_pause_is_bearable(fps, make_detector):
    """Also a clock that leaps: no signal is made of the time between."""
    analysis = LiveAnalysis(make_detector())
    times = [at / fps for at in range(40)]
    times += [time + 500_000 for time in times]
    updates = [analysis.add(time, frame) for time, frame in zip(times, noise(80, 32, 32), strict=True)]
    assert [update.time for update in updates] == times
    assert len(analysis.frames) <= max(fps, 2) + 1


def test_a_machine_that_is_far_too_slow_says_so(make_detector):
    """Of a picture every 0.8 s there are two in a second, of one every 1.2 s there is none beside the last."""
    frame = noise(1, 48, 48)[0]
    for pause, named in ((0.8, True), (1.2, False), (3.0, False)):
        analysis = LiveAnalysis(make_detector())
        update = [analysis.add(at * pause, frame) for at in range(4)][-1]
        assert (update.probabilities is not None) == named
        assert ("Too few pictures a second" in update.message) == (not named)


def test_a_frame_that_is_not_newer_is_refused(make_detector):
    analysis = LiveAnalysis(make_detector())
    analysis.add(1.0, np.zeros((32, 32), np.uint8))
    with pytest.raises(ValueError, match=r"time is 1\.001; give at least 0\.0083 s more"):
        analysis.add(1.001, np.zeros((32, 32), np.uint8))


def test_the_face_is_found_followed_and_shown(make_face_detector, photo):
    analysis = LiveAnalysis(make_face_detector())
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    updates = [analysis.add(at / 10, gray) for at in range(25)]
    assert "A face was found" in updates[0].message and updates[0].probabilities is None
    assert updates[-1].message == "" and len(updates[-1].probabilities) == 3
    exact = make_face_detector().reader.crop.finder.find(gray)
    assert np.abs(analysis.watch.main.face.points - exact.points).max() < 1.0
    assert updates[-1].face.shape == (144, 144) and updates[-1].settled == updates[-1].unsettled == []


def test_no_face_and_too_many_are_told_in_words(make_face_detector, photo):
    analysis = LiveAnalysis(make_face_detector())
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    nobody = analysis.add(0.0, np.full_like(gray, 90))
    assert nobody.message.startswith("There is no face in the picture.") and nobody.face is None
    two = np.hstack([gray[:, 100:400], gray[:, 400:100:-1]])
    several = [analysis.add(1 + at / 10, two) for at in range(6)]
    assert "2 faces are in the picture, which are too many" in several[-1].message
    assert several[-1].face is not None and several[-1].probabilities is not None
    gone = [analysis.add(2 + at / 10, np.full_like(two, 90)) for at in range(12)]
    assert gone[-1].message == nobody.message and gone[-1].probabilities is None


def test_pictures_are_decoded_reduced_or_refused():
    gray = noise(1, 48, 64)[0]
    assert np.abs(decode_frame(jpeg(gray)).astype(int) - gray).mean() < 12
    assert decode_frame(jpeg(np.zeros((720, 1280), np.uint8))).shape == (SIDE * 720 // 1280, SIDE)
    for picture, said in (
        (b"", "is no JPEG"),
        (cv2.imencode(".png", gray)[1].tobytes(), "is no JPEG"),
        (jpeg(gray)[:300], "truncated"),
        (jpeg(np.zeros((8, MAX_SIDE + 8), np.uint8)), f"at most {MAX_SIDE} a side"),
        (b"\xff\xd8\xff\xd9" + bytes(100), "the picture"),
    ):
        with pytest.raises(ClipError, match=said):
            decode_frame(picture)


# ---------------------------------------------------------------------- requests

KEY = "0123456789abcdef" * 2


class Slow:
    """An analysis that looks at a frame only when it is let."""

    def __init__(self):
        self.begun, self.let, self.times = threading.Event(), threading.Event(), []

    def add(self, time, gray):
        self.begun.set()
        assert self.let.wait(30)
        self.times.append(time)
        raise ClipError(f"seen at {time:g}")


async def post(app, path, body=b"", query=b"", kind=b"image/jpeg"):
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": query,
        "headers": [(b"content-type", kind)],
    }
    await app(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_a_slow_machine_leaves_frames_out_and_answers_all():
    slow = Slow()
    app = LiveRequests(None, start=lambda: slow, most=1, idle=IDLE)
    picture = jpeg(noise(1, 32, 32)[0])

    async def visit():
        def frame(at):
            return asyncio.create_task(post(app, f"/live/frame/{KEY}", picture, b"time=%d" % at))

        tasks = [frame(0)]
        await asyncio.to_thread(slow.begun.wait, 30)
        for at in range(1, 6):
            tasks.append(frame(at))
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert [task.done() for task in tasks] == [False, True, True, True, True, False]
        other = await post(app, f"/live/frame/{KEY[::-1]}", picture, b"time=0")
        slow.let.set()
        return [*await asyncio.gather(*tasks), other]

    *answers, other = asyncio.run(visit())
    assert slow.times == [0, 5]
    assert answers[0] == (422, {"error": "seen at 0"}) and answers[5] == (422, {"error": "seen at 5"})
    assert answers[1:5] == [(200, {"left_out": True})] * 4
    assert other[0] == 503 and "1 others are live already" in other[1]["error"]


def test_what_comes_back_is_what_was_seen(make_detector):
    picture = jpeg(noise(1, 48, 48)[0])
    app = LiveRequests(None, start=lambda: LiveAnalysis(make_detector()), most=1, idle=IDLE)

    async def visit():
        times = [at / 25 for at in range(12)] + [0.1]
        said = [await post(app, f"/live/frame/{KEY}", picture, b"time=%.2f" % time) for time in times]
        said.append(await post(app, f"/live/stop/{KEY}"))
        return said, dict(app.sessions.sessions)

    (*frames, late, stopped), left = asyncio.run(visit())
    assert [status for status, _ in frames] == [200] * 12
    assert [said["time"] for _, said in frames] == [at / 25 for at in range(12)]
    assert late == (200, {"left_out": True}) and stopped == (200, {}) and left == {}
    assert len(frames[-1][1]["probabilities"]) == 3 and frames[-1][1]["took"] > 0


@pytest.mark.parametrize(
    ("query", "kind", "body", "status"),
    [
        (b"time=1", b"text/plain", b"x", 400),  # as another site's page could send it unasked
        (b"", b"image/jpeg", b"x", 400),
        (b"time=nan", b"image/jpeg", b"x", 400),
        (b"time=-1", b"image/jpeg", b"x", 400),
        (b"time=1e9", b"image/jpeg", b"x", 400),
        (b"time=\xff", b"image/jpeg", b"x", 400),
        (b"time=1", b"image/jpeg", b"x", 422),
    ],
)
def test_what_is_no_frame_is_refused(query, kind, body, status, make_detector):
    app = LiveRequests(None, start=lambda: LiveAnalysis(make_detector()), most=1, idle=IDLE)
    answer = asyncio.run(post(app, f"/live/frame/{KEY}", body, query, kind))
    assert answer[0] == status and answer[1]["error"]


def test_a_failure_is_told_without_its_reason():
    def start():
        raise RuntimeError("a secret path")

    app = LiveRequests(None, start=start, most=1, idle=IDLE)
    status, said = asyncio.run(post(app, f"/live/frame/{KEY}", jpeg(noise(1)[0]), b"time=0"))
    assert status == 500 and "secret" not in said["error"]
