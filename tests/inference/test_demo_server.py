"""The demo's server as a program that means no good meets it: plain HTTP, past the page."""

import http.client
import http.server
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import cv2
import pytest

from aullm_hf.inference.demo.analysis import Demo, DemoError, Limits, check_upload
from aullm_hf.inference.demo.page import build_page, middleware
from aullm_hf.inference.demo.request_limits import MAX_FRAME_BYTES, _stored
from support.videos import noise, write_video

LIMITS = Limits(megabytes=1, waiting=4, upload_seconds=2)


@pytest.fixture(scope="module")
def served(make_detector, tmp_path_factory):
    """(port, the folder of uploads) of the page as `launch` serves it."""
    pytest.importorskip("gradio", reason='Gradio is not installed: pip install "aullm-hf[demo]"')
    folder = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        demo = Demo(make_detector(), LIMITS)
        page = build_page(demo)
        page.launch(
            server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, max_file_size=1 << 20, ssr_mode=False,
            app_kwargs={"middleware": middleware(demo, own_hosts_only=True), "openapi_url": None},
            footer_links=[],
        )  # fmt: skip
        yield page.server_port, folder
        page.close(verbose=False)


def ask(port, method, path, body=b"", headers=None, timeout=60):
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        try:
            line.request(method, path, body=body, headers=headers or {})
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered already, and does not read on
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def form(*files: tuple[str, bytes]) -> tuple[bytes, dict]:
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\n%s\r\n' % (name.encode(), content)
        for name, content in files
    ]
    return b"".join(parts) + b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


def upload(port, *files):
    body, headers = form(*files)
    return ask(port, "POST", "/gradio_api/upload", body, headers)


def analyse(port, data, session="s1", fn_index=0):
    """As the page does: a place in the queue, then the answer that comes out of it."""
    join = json.dumps({"data": data, "fn_index": fn_index, "session_hash": session, "trigger_id": 1}).encode()
    status, said = ask(port, "POST", "/gradio_api/queue/join", join, {"Content-Type": "application/json"})
    if status != 200:
        return status, said.decode()
    status, said = ask(port, "GET", f"/gradio_api/queue/data?session_hash={session}")
    return status, said.decode()


def lying(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_page_works_and_keeps_nothing(served, tmp_path):
    port, folder = served
    status, page = ask(port, "GET", "/")
    assert status == 200 and b"Facial Action Units" in page
    clip = write_video(tmp_path / "x.avi", noise(12, 32, 32), rate=50).read_bytes()
    status, paths = upload(port, ("smile <img src=x onerror=alert(1)>.avi", clip))
    assert status == 200 and lying(folder)
    path = json.loads(paths)[0]
    assert os.stat(path).st_mode & 0o077 == 0 or folder.stat().st_mode & 0o077 == 0, "other users can read it"
    status, said = analyse(port, [{"video": None, "path": path, "meta": {"_type": "gradio.FileData"}}, True])
    assert status == 200 and "AU12" in said and "onerror=alert" in said and "<img src=x" not in said
    assert lying(folder) == []


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/file=/etc/passwd", "/gradio_api/file=../../../../etc/passwd",
     "/gradio_api/file=%2e%2e/%2e%2e/etc/passwd", "/gradio_api/file=C:/x", "/static/../../../etc/passwd",
     "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/assets/..%2f..%2f..%2fetc%2fpasswd", "/svelte/..%2f..%2fx",
     "/gradio_api/proxy=http://127.0.0.1:9/", "/gradio_api/file=http://127.0.0.1:9/x", "/gradio_api/stream/a/b/1/x",
     "/gradio_api/custom_component/x/y/z/..%2f..%2fx", "/gradio_api/openapi.json", "/docs", "/openapi.json",
     "/gradio_api/deep_link", "/gradio_api/call/upload/x", "/gradio_api/run-history/records", "/monitoring/summary"],
)  # fmt: skip
def test_no_file_and_no_address_is_reached_through_it(served, path):
    status, said = ask(served[0], "GET", path)
    assert status in (307, 308, 400, 403, 404, 405) and b"root:" not in said, (status, said[:200])


@pytest.mark.parametrize(
    "path", ["/gradio_api/run/predict", "/gradio_api/api/upload", "/gradio_api/call/upload", "/api/predict",
             "/gradio_api/component_server", "/gradio_api/stream/x", "/login", "/gradio_api/mcp/sse", "/run/predict",
             "/gradio_api/run-history/connect", "/gradio_api/queue/join/../../run/predict"]
)  # fmt: skip
def test_nothing_else_is_sent_to_it(served, path):
    body = json.dumps({"data": [None, True], "fn_index": 0}).encode()
    assert ask(served[0], "POST", path, body, {"Content-Type": "application/json"})[0] in (404, 405)
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert ask(served[0], method, "/gradio_api/queue/join", body)[0] in (400, 404, 405)


def test_too_much_is_not_taken(served):
    port, folder = served
    assert upload(port, ("a.mp4", bytes(3 << 20)))[0] == 413
    assert upload(port, *[(f"{n}.mp4", bytes(400_000)) for n in range(8)])[0] == 413  # each small, together not
    status, _ = ask(port, "POST", "/gradio_api/queue/join", b" " * 100_000, {"Content-Type": "application/json"})
    assert status == 413
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    line.putrequest("POST", "/gradio_api/upload")
    line.putheader("Transfer-Encoding", "chunked")
    line.endheaders()
    assert line.getresponse().status == 411
    line.close()
    assert lying(folder) == []


def test_a_live_picture_is_answered_and_kept_nowhere(served):
    """Without a face detector at hand the page says so; `test_live.py` has what is seen."""
    port, folder = served
    path, headers = f"/live/frame/{'0a' * 16}", {"Content-Type": "image/jpeg"}
    status, said = ask(port, "POST", f"{path}?time=0", cv2.imencode(".jpg", noise(1)[0])[1].tobytes(), headers)
    assert status == 422 and "the face detector" in json.loads(said)["error"]
    assert ask(port, "POST", f"/live/stop/{'0a' * 16}") == (200, b"{}")
    assert ask(port, "POST", f"{path}?time=0", bytes(MAX_FRAME_BYTES + 1), headers)[0] == 413
    assert ask(port, "POST", f"{path}?time=0", b"x", {"Content-Type": "text/plain"})[0] == 400
    assert ask(port, "OPTIONS", path)[0] == 404, "a browser would let another site send pictures"
    for other in ("/live/frame/short", "/live/frame/" + "0A" * 16, "/live/other/" + "0a" * 16, "/live/frame/../../x"):
        assert ask(port, "POST", other, b"x", headers)[0] == 404
    assert ask(port, "POST", path, b"x", headers | {"Host": "evil.example"})[0] == 421
    assert lying(folder) == []


def test_many_at_once_are_bounded_on_the_disk_and_in_the_queue(served):
    """Uploads that nobody analyses fill no disk; of visitors beyond the queue's length each is told so."""
    port, folder = served
    answers: list[int] = []

    def send(number):
        answers.append(upload(port, (f"{number}.mp4", bytes([number]) * 900_000))[0])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) == {200, 503}
    assert sum(path.stat().st_size for path in lying(folder)) <= LIMITS.waiting * ((1 << 20) + (1 << 16))
    for path in lying(folder):
        path.unlink()

    said: list[str] = []
    visitors = [
        threading.Thread(target=lambda n=n: said.append(analyse(port, ["Clip: nothing moves"], f"v{n}", 1)[1]))
        for n in range(20)
    ]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert len(said) == 20
    served_well, refused = [text for text in said if "AU12" in text], [text for text in said if "ueue is full" in text]
    assert refused and served_well and len(refused) + len(served_well) == 20


def test_uploads_that_are_deleted_meanwhile_are_not_counted(tmp_path, monkeypatch):
    (tmp_path / "here.mp4").write_bytes(b"four")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(os, "walk", lambda folder: [(folder, [], ["here.mp4", "gone.mp4"])])
    assert _stored() == 4


def test_an_upload_that_never_ends_is_ended(served):
    line = http.client.HTTPConnection("127.0.0.1", served[0], timeout=20)
    line.putrequest("POST", "/gradio_api/upload")
    line.putheader("Content-Length", "500000")
    line.putheader("Content-Type", "multipart/form-data; boundary=x")
    line.endheaders()
    line.send(form(("a.mp4", b"1234"))[0][:60])
    begun = time.monotonic()
    try:
        assert line.getresponse().status >= 400
    except (http.client.HTTPException, OSError):
        pass  # cut
    assert time.monotonic() - begun < 15
    line.close()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", ""])
def test_it_goes_by_this_machines_name_alone(served, host):
    """A web site whose name was made to point here (DNS rebinding) reads nothing."""
    status, said = ask(served[0], "GET", "/config", headers={"Host": host})
    assert status in (400, 421) and b"components" not in said
    assert ask(served[0], "GET", "/config", headers={"Host": f"localhost:{served[0]}"})[0] == 200


@pytest.mark.parametrize("where", ["/etc/passwd", "/proc/self/environ", "../../etc/passwd", "http://127.0.0.1:{}/x",
                                   "http://169.254.169.254/latest", "file:///etc/passwd"])  # fmt: skip
def test_a_clip_that_was_not_uploaded_is_not_read(served, where):
    asked = []

    class Witness(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)

        do_HEAD = do_GET

    witness = http.server.HTTPServer(("127.0.0.1", 0), Witness)
    threading.Thread(target=witness.serve_forever, args=(0.02,), daemon=True).start()
    path = where.format(witness.server_address[1])
    for given in ({"path": path}, {"path": "x", "url": path}):
        file = {**given, "meta": {"_type": "gradio.FileData"}, "orig_name": "x.mp4"}
        _, said = analyse(served[0], [file, True], session="s" + str(abs(hash(str(given)))))
        assert "root:" not in said and "HF_TOKEN" not in said and "AU12" not in said
    witness.shutdown()
    assert asked == [], "the server fetched what a visitor named"
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.ffconcat"])
def test_a_playlist_reads_no_other_file(name, tmp_path, make_detector):
    """FFmpeg would open whatever a playlist names: other visitors' clips, other files of the machine."""
    frames = [frame[:, :, None].repeat(3, axis=2) for frame in noise(8, 32, 32)]
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").mkdir()
    other = write_video(tmp_path / "theirs" / "private.ts", frames, codec="mpeg2video", pixels="yuv420p")
    (tmp_path / "ours" / "beside.ts").write_bytes(other.read_bytes())
    hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n"
    concat = "ffconcat version 1.0\nfile {}\n"
    demo = Demo(make_detector())
    for text in (hls, concat):
        for target in (other, "beside.ts", f"file://{other}", "../theirs/private.ts"):
            path = tmp_path / "ours" / name
            path.write_text(text.format(target))
            with pytest.raises(DemoError, match="could not be analysed"):
                demo.analyse_upload(path, cropped=True)
            with pytest.raises(ValueError, match="could not be read as a video"):
                demo.detector.processor(str(path))
    assert demo.detector.processor(str(other))["pixel_values"].shape[0] == 1  # the video itself is read


def test_work_is_bounded_by_all_the_pixels_there_are(tmp_path):
    path = write_video(tmp_path / "x.avi", noise(20, 32, 32), rate=100)
    check_upload(path, Limits(pixels=20 * 32 * 32))
    with pytest.raises(DemoError, match="over 19 frames"):
        check_upload(path, Limits(pixels=19 * 32 * 32))
    import numpy as np

    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((10, 5000), np.uint8))
    with pytest.raises(DemoError, match="5000 x 10 pixels; at most 4096"):
        check_upload(tmp_path / "x.png", Limits())
