"""The demo page's functions: what is analysed, what is refused and in which words, and that nothing is kept."""

import base64
import io
import os
import re
import socket
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from aullm_hf.commands.main import main
from aullm_hf.inference import AUDetector
from aullm_hf.inference.demo.analysis import Demo, DemoError, Limits, check_upload, table_csv
from aullm_hf.inference.demo.page import build_page, forget, page_head, result_html, video_html
from support.videos import noise, write_video

ROOT = Path(__file__).parents[2]
SPACE = ROOT / "hub_configs" / "space"


def pins(path: Path) -> dict[str, str]:
    lines = [line.split("==") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in lines}


@pytest.fixture(scope="module")
def demo(make_detector) -> Demo:
    return Demo(make_detector())


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "smile <b>.avi", noise(20, 32, 32), rate=100)


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "talk.avi", noise(150, 32, 32), rate=25)


def shown(page: str) -> str:
    """What a reader sees: the text of the HTML, without its pictures."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


# ---------------------------------------------------------------------- analysis


def test_what_the_page_tells_is_what_the_detector_says(demo, clip):
    detector = demo.detector
    analysis = demo.analyse_upload(clip, cropped=True)
    row = detector.rows(list(detector.read(clip))).iloc[0]
    assert list(analysis.aus["au"]) == detector.labels
    assert analysis.aus["probability"].tolist() == [row[f"p_{label}"] for label in detector.labels]
    assert analysis.aus["active"].tolist() == [row[f"active_{label}"] for label in detector.labels]
    assert analysis.face.shape == (32, 32) and "timeline" not in analysis.pictures
    said = shown(result_html(analysis))
    for told in analysis.aus.itertuples():
        line = f"{told.au} {told.name} {told.muscle} {told.probability:.2f} {told.threshold:.2f}"
        assert f"{line} {'yes' if told.active else 'no'}" in said


def test_the_table_is_downloaded_as_it_was_made(demo, clip):
    analysis = demo.analyse_upload(clip, cropped=True)
    (link,) = re.findall(r"href='data:text/csv;charset=utf-8;base64,([^']+)'", result_html(analysis))
    table = pd.read_csv(io.BytesIO(base64.b64decode(link)))
    assert table.to_csv(index=False) == table_csv(analysis)
    assert {"au", "name", "muscle", "probability", "threshold", "active"} <= set(table.columns)
    np.testing.assert_allclose(table["probability"], analysis.aus["probability"], rtol=1e-9)


def test_a_page_names_the_file_and_not_where_it_lay(demo, clip):
    page = result_html(demo.analyse_upload(clip, cropped=True))
    assert str(clip.parent) not in page and str(clip.parent) not in table_csv(demo.analyse_upload(clip, cropped=True))
    assert "smile &lt;b&gt;.avi" in page and "<b>.avi" not in page
    assert re.search(r"download='[A-Za-z0-9_-]+_aus\.csv'", page)


def test_a_recording_has_a_timeline_and_its_clearest_window_is_explained(demo, recording):
    analysis = demo.analyse_upload(recording, cropped=True)
    above = [analysis.rows[f"p_{label}"] - analysis.rows[f"threshold_{label}"] for label in demo.detector.labels]
    assert len(analysis.rows) > 5 and "timeline" in analysis.pictures
    assert analysis.clip.clip == int(np.argmax(np.max(above, axis=0)))
    assert len(analysis.named) == len(analysis.rows) * len(demo.detector.labels)
    assert (analysis.aus["clip"] == analysis.clip.clip).all()
    page = result_html(analysis)
    assert "About the clip: lasts 6.0 s and was read in windows of 0.5 s." in page
    assert page.count("<img") == 4 and "channels" not in page  # the face, where, over time, the muscles
    assert all("alt='" in image for image in re.findall(r"<img[^>]*>", page))


def test_every_example_can_be_tried(demo):
    names = list(demo.examples())
    assert len(names) >= 4 and any("nothing moves" in name for name in names)
    for name in names:
        analysis = demo.analyse_example(name)
        assert ("timeline" in analysis.pictures) == name.startswith("Recording")
        assert analysis.rows["source"].unique().tolist() == [name]


def test_a_video_to_watch_is_in_the_answer_and_on_no_disk(demo, recording, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    video = demo.video_of_upload(recording, cropped=True)
    with av.open(io.BytesIO(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 150 and container.streams.video[0].height > 32
    assert list(tmp_path.iterdir()) == []
    page = video_html(video, "talk <b>.avi")
    (link,) = re.findall(r"download='talk_b_watch\.mp4' href='data:video/mp4;base64,([^']+)'", page)
    assert base64.b64decode(link) == video
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), np.zeros((32, 32), np.uint8))
    for path, said in ((None, "There is no clip yet"), (still, "could not|no readable video|still.png")):
        with pytest.raises(DemoError, match=said):
            demo.video_of_upload(path, cropped=True)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"this is no video", "could not be analysed. The reason: is no readable video"),
        (b"", "could not be analysed. The reason: "),
    ],
)
def test_what_is_no_video_is_refused_in_words(content, said, demo, tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)
    with pytest.raises(DemoError, match=re.escape(f"“notes.mp4” {said}")) as error:
        demo.analyse_upload(path, cropped=True)
    assert str(tmp_path) not in str(error.value)


def test_a_codec_that_nobody_knows_is_told_in_words(demo, clip, tmp_path):
    path = tmp_path / "odd.avi"
    path.write_bytes(clip.read_bytes().replace(b"FFV1", b"ZZZZ"))
    with pytest.raises(DemoError, match="its video is of a codec that is not known here"):
        demo.analyse_upload(path, cropped=True)


def test_bounds_of_size_length_and_pixels(clip, recording, tmp_path):
    check_upload(clip, Limits())
    with pytest.raises(DemoError, match="lasts over 2 s or has over 20000 frames"):
        check_upload(recording, Limits(seconds=2))
    with pytest.raises(DemoError, match="lasts over 60 s or has over 100 frames"):
        check_upload(recording, Limits(frames=100))
    with pytest.raises(DemoError, match="32 x 32 pixels; at most 16 a side"):
        check_upload(clip, Limits(side=16))
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(2_000_000)
    with pytest.raises(DemoError, match=r"has 1\.9 MB; at most 1 MB"):
        check_upload(large, Limits(megabytes=1))


def test_nothing_sent_nothing_chosen_and_gone_already(demo, tmp_path):
    with pytest.raises(DemoError, match="There is no clip yet"):
        demo.analyse_upload(None, cropped=True)
    with pytest.raises(DemoError, match="no longer here: clips are deleted after use"):
        demo.analyse_upload(tmp_path / "gone.mp4", cropped=True)
    with pytest.raises(DemoError, match="Choose one of the examples"):
        demo.analyse_example("../../etc/passwd")


def test_what_the_visitor_says_of_a_clip_is_not_asked_again(model, processor, clip):
    with pytest.warns(UserWarning, match="nothing says whether these clips are"):
        demo = Demo(AUDetector(model, processor=processor))  # as the command makes it
    assert demo.takes_crops and demo.analyse_upload(clip, cropped=True).remarks == []


def test_a_clip_without_a_face_is_told_so(make_face_detector, tmp_path):
    demo = Demo(make_face_detector())
    assert not demo.takes_crops
    path = write_video(tmp_path / "wall.avi", [np.full((96, 96), 128, np.uint8)] * 8, rate=50)
    with pytest.raises(DemoError, match="no face"):
        demo.analyse_upload(path, cropped=False)


# ------------------------------------------------------------------ nothing kept


def test_only_what_lies_in_the_folder_for_uploads_is_deleted(tmp_path, monkeypatch):
    uploads, elsewhere = tmp_path / "uploads", tmp_path / "elsewhere"
    for file in (uploads / "hash" / "clip.mp4", elsewhere / "clip.mp4", uploads / "loose.mp4"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"clip")
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    forget(str(uploads / "hash" / "clip.mp4"))
    assert (uploads / "hash" / "clip.mp4").exists()  # nobody said that this is where uploads lie
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads))
    forget(None)
    forget(str(elsewhere / "clip.mp4"))
    forget(str(uploads / ".." / "elsewhere" / "clip.mp4"))
    assert (elsewhere / "clip.mp4").exists()
    forget(str(uploads / "hash" / "clip.mp4"))
    assert not (uploads / "hash").exists() and (uploads / "loose.mp4").exists()


def test_an_analysis_writes_no_file(demo, clip, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    result_html(demo.analyse_upload(clip, cropped=True))
    assert list(tmp_path.rglob("*")) == []


# -------------------------------------------------------------------- what it is


def test_models_of_drawn_faces_are_marked(demo, monkeypatch):
    for trained_on, told in (
        (
            "synthetic-casme2 v2 (easy), SYNTHETIC faces",
            "trained on drawn faces (synthetic-casme2 v2 (easy), SYNTHETIC face",
        ),
        ("synthetic, casme2, partly SYNTHETIC faces", "trained partly on drawn faces"),
        (None, "What this model was trained on is not recorded with it."),
        ("casme2", None),
    ):
        monkeypatch.setattr(demo.detector, "trained_on", trained_on)
        head = page_head(demo)
        assert ("trained-on" in head) == (told is not None) and (told or "") in head


def test_the_page_is_built_private_bounded_and_says_what_it_is_not_for(demo):
    pytest.importorskip("gradio", reason='Gradio is not installed: pip install "aullm-hf[demo]"')
    page = build_page(demo)
    config = page.get_config_file()
    told = " ".join(str(part["props"].get("value")) for part in config["components"])
    assert "Not for deception detection, hiring, policing" in told
    assert "What this model was trained on is not recorded" in told and "No clip is kept" in told
    assert page._queue.max_size == demo.limits.waiting
    called = [function for function in page.fns.values() if function.fn is not None]
    assert len(called) == 3 and all(function.concurrency_limit == 1 for function in called)
    assert all(function.api_visibility == "private" for function in called)
    assert page.analytics_enabled is False and os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert page.delete_cache


def test_without_gradio_the_extra_is_named(demo, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ImportError, match=r'needs Gradio: pip install "aullm-hf\[demo\]"'):
        build_page(demo)


# ----------------------------------------------------------------------- command


def test_the_page_is_this_machines_alone_unless_asked(checkpoint, monkeypatch, capsys):
    from aullm_hf.inference.demo import page as demo_page

    served = []
    monkeypatch.setattr(demo_page, "launch", lambda demo, **where: served.append((demo.limits, where)))
    assert main(["demo", "--model", str(checkpoint)]) == 0
    assert capsys.readouterr().err.count("Warning") == 0
    assert main(["demo", "--model", str(checkpoint), "--share", "--max_mb", "5"]) == 0
    assert "--share makes the page public" in capsys.readouterr().err
    assert main(["demo", "--model", str(checkpoint), "--host", "0.0.0.0", "--port", "7999"]) == 0
    assert "--host 0.0.0.0 lets other machines" in capsys.readouterr().err
    assert [where for _, where in served] == [
        {"host": "127.0.0.1", "port": None, "share": False},
        {"host": "127.0.0.1", "port": None, "share": True},
        {"host": "0.0.0.0", "port": 7999, "share": False},
    ]
    assert [limits.megabytes for limits, _ in served] == [50, 5, 50]


def test_wrong_settings_are_named(tmp_path, capsys):
    assert main(["demo", "--model", str(tmp_path), "--max_mb", "0"]) == 2
    assert "--max_mb is 0; give more than 0" in capsys.readouterr().err
    assert main(["demo", "--model", str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (["--port", "99999"], "--port is 99999; give 1 to 65535"),
        (["--port", "-1"], "--port is -1"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1 cannot be served on"),  # of documentation, nobody's
        (["--max_seconds", "nan"], "--max_seconds is nan; give more than 0"),
    ],
)
def test_an_address_that_cannot_be_served_on_is_told_before_the_model_is_loaded(where, said, tmp_path, capsys):
    assert main(["demo", "--model", str(tmp_path / "nothing"), *where]) == 2
    told = capsys.readouterr().err
    assert said in told and "nothing" not in told


def test_a_port_that_is_taken_is_told(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["demo", "--model", str(tmp_path / "nothing"), "--port", port]) == 2
    assert f"--host 127.0.0.1 --port {port} cannot be served on: Address already in use" in capsys.readouterr().err


def test_the_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["demo", "--help"])
    assert "aullm demo --model YOU/REPOSITORY --port 7870" in capsys.readouterr().out


# ------------------------------------------------------------------------- Space


def test_a_space_has_what_the_page_was_tested_with():
    tested, space = pins(ROOT / "constraints.txt"), pins(SPACE / "requirements.txt")
    differing = {name for name in tested.keys() & space.keys() if tested[name] != space[name]}
    assert not differing
    front = yaml.safe_load((SPACE / "README.md").read_text().split("---")[1])
    assert front["sdk"] == "gradio" and front["sdk_version"] == space["gradio"]
    assert (SPACE / front["app_file"]).is_file()
    needed = [Requirement(text) for text in requires("aullm-hf") or [] if "extra" not in text]
    assert needed and all(need.specifier.contains(space[canonicalize_name(need.name)]) for need in needed)


def test_a_space_without_a_model_says_what_to_set():
    env = {name: value for name, value in os.environ.items() if name != "AULLM_MODEL"} | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, SPACE / "app.py"], env=env, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and "give this Space the variable AULLM_MODEL" in ended.stderr
