"""`aullm explain --video`: the same rate, length and sound, with what the model saw drawn onto it."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from aullm_hf.commands.main import main
from aullm_hf.inference.evidence_veil import EvidenceVeil
from aullm_hf.inference.explained_video import Overlay, write_explained_video
from aullm_hf.inference.pictures.clip_pictures import explain_clip
from aullm_hf.inference.pictures.film_strip import on_frames
from aullm_hf.inference.reading.clip_source import ClipSource
from aullm_hf.model.explaining import pixel_map
from support.videos import noise, write_video


def with_sound(path: Path, frames, codec: str = "aac", rate: int = 25) -> Path:
    with av.open(str(path), "w") as container:
        picture, sound = container.add_stream("libx264", rate=rate), container.add_stream(codec, rate=48000)
        picture.height, picture.width = frames[0].shape
        picture.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        for at in range(0, int(len(frames) / rate * 48000), 1024):
            tone = np.sin(np.arange(at, at + 1024) / 20).astype(np.float32)[None]
            block = av.AudioFrame.from_ndarray(tone, format="flt", layout="mono")
            block.sample_rate, block.pts, block.time_base = 48000, at, Fraction(1, 48000)
            container.mux(sound.encode(block))
        container.mux(picture.encode())
        container.mux(sound.encode())
    return path


def times_and_sound(path: Path) -> tuple[list[float], bytes]:
    with av.open(str(path)) as container:
        packets = list(container.demux())
        sound = b"".join(bytes(packet) for packet in packets if packet.stream.type == "audio")
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    return times, sound


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return with_sound(tmp_path_factory.mktemp("videos") / "talk.mp4", noise(40, 96, 128))


def test_times_and_sound_are_those_of_the_video(video, make_detector, tmp_path):
    out = tmp_path / "watch.mp4"
    rows = write_explained_video(make_detector(window=0.4), ClipSource("talk", video), out)
    (before, sound), (after, copied) = times_and_sound(video), times_and_sound(out)
    assert np.allclose(after, before, atol=1e-4) and len(after) == 40
    assert sound and copied == sound
    with av.open(str(out)) as container:
        assert container.streams.video[0].average_rate == 25
        assert container.streams.video[0].height > 96 and container.streams.video[0].width == 128
    assert len(rows) > 3 and [path.name for path in tmp_path.iterdir()] == ["watch.mp4"]


def test_times_that_vary_stay_as_they_are(make_detector, tmp_path):
    times = [0, 40, 100, 120, 300, 320, 400, 440, 500, 560, 640, 700]
    video = write_video(tmp_path / "odd.mkv", noise(12), times=times)
    write_explained_video(make_detector(window=0.3), ClipSource("odd", video), tmp_path / "watch.mkv")
    assert np.allclose(times_and_sound(tmp_path / "watch.mkv")[0], np.array(times) / 1000, atol=2e-3)


def test_box_names_and_cursor_are_drawn_at_their_time(make_detector):
    rows = make_detector(window=0.4, fps=25).rows(list(make_detector(window=0.4, fps=25).read(np.stack(noise(40)))))
    rows = rows.assign(box_x=10.0, box_y=20.0, box_w=60.0, box_h=50.0, active_AU4=[at == 1 for at in range(len(rows))])
    rows = rows.assign(active_AU1=False, active_AU12=False)
    overlay = Overlay(rows, 320, 240)
    blank = np.full((240, 320, 3), 90, np.uint8)
    first, second = overlay.draw(blank, 0.1), overlay.draw(blank, float(rows["start"][1] + 0.2))
    assert first.shape == (*overlay.shape, 3) and overlay.shape[0] % 2 == overlay.shape[1] % 2 == 0
    assert (first[20, 10:70] != 90).any(axis=1).all()  # the box
    assert (second[72:110] != 90).sum() > (first[72:110] != 90).sum() + 100  # an AU's name, while it is active
    cursor = [np.flatnonzero((frame[240:, :] == (213, 94, 0)).all(axis=2).all(axis=0)) for frame in (first, second)]
    assert 0 < cursor[0].mean() < cursor[1].mean() < 320


def test_evidence_lies_on_the_face_where_the_model_has_it(make_detector, monkeypatch):
    """A map with one strong cell, on a picture twice as wide as the crop and padded: at its place and nowhere else."""
    detector = make_detector(window=0.4, fps=25)
    clips = list(detector.read(np.stack(noise(30, 100, 200))))
    veil = EvidenceVeil(detector, clips)
    size = clips[0].frames.shape[-1]
    strength = np.zeros((6, size, size), np.float32)
    strength[:, size // 2, size // 4] = 1
    monkeypatch.setattr(veil, "_strength", lambda clip: strength)
    picture = np.full((100, 200, 3), 90, np.uint8)
    veil.lay(picture, 0, clips[0].start)
    rows, columns = np.nonzero((picture != 90).any(axis=2))
    scale = 200 / size
    assert abs(columns.mean() - (size // 4 + 0.5) * scale) < scale and columns.std() < scale
    assert abs(rows.mean() - ((size // 2 + 0.5) * scale - 50)) < scale and rows.std() < scale


def test_a_veil_is_drawn_where_an_au_is_active_and_asked_for(make_detector):
    detector = make_detector(window=0.4, fps=25)
    clips = list(detector.read(np.stack(noise(40))))
    rows = detector.rows(clips).assign(active_AU1=False, active_AU4=[at == 0 for at in range(len(clips))])
    rows = rows.assign(active_AU12=False)
    blank = np.full((48, 64, 3), 90, np.uint8)
    veil = EvidenceVeil(detector, clips)
    plain, with_veil = Overlay(rows, 64, 48), Overlay(rows, 64, 48, veil)
    veil._strength = lambda clip: np.full((6, 32, 32), 0.4, np.float32)
    assert (plain.draw(blank, 0.1) != with_veil.draw(blank, 0.1)).any()
    later = float(rows["start"].iloc[2] + 0.3)
    assert (plain.draw(blank, later) == with_veil.draw(blank, later)).all()


def test_the_veil_is_the_evidence_of_the_active_aus(make_detector, model, monkeypatch):
    detector = make_detector(window=0.4, fps=25)
    (clip, *_) = clips = list(detector.read(np.stack(noise(20))))
    veil = EvidenceVeil(detector, clips)
    monkeypatch.setattr(model.config, "thresholds", {"AU1": 1.0, "AU4": 0.0, "AU12": 1.0})
    _, explanation = explain_clip(detector, clip, ["AU4"])
    size = clip.frames.shape[-1]
    expected = on_frames(pixel_map(explanation.evidence[0].cells, size).numpy(), model.config.num_frames)
    np.testing.assert_allclose(veil._strength(clip), expected, atol=1e-6)
    monkeypatch.setattr(model.config, "thresholds", dict.fromkeys(("AU1", "AU4", "AU12"), 1.0))
    assert veil._strength(clip) is None


def test_the_command_and_what_it_refuses(video, checkpoint, tmp_path, capsys):
    def explain(*words) -> int:
        return main(["explain", *map(str, words), "--model", str(checkpoint), "--no_face"])

    assert explain(video, "--video", tmp_path / "a.mp4", "--evidence") == 0
    assert "windows. The video is" in capsys.readouterr().out and (tmp_path / "a.mp4").exists()
    odd = with_sound(tmp_path / "odd.mkv", noise(12, 32, 32), codec="pcm_s16le")
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    for words, message in (
        ([video], "nothing is to be made; give --out FOLDER"),
        ([video, "--out", tmp_path / "o", "--evidence"], "--evidence is drawn into the video; give --video"),
        ([video, "--video", tmp_path / "a.gif"], "a video is one of .mp4, .mkv, .mov"),
        ([video, video, "--video", tmp_path / "b.mp4"], "2 are named; give one"),
        ([video, "--video", video], "is the video itself"),
        ([odd, "--video", tmp_path / "c.mp4"], "the sound of odd.mkv is pcm_s16le"),
        ([broken, "--video", tmp_path / "d.mp4"], "is no readable video"),
        ([tmp_path, "--video", tmp_path / "e.mp4"], "are named; give one"),
    ):
        assert explain(*words) == 2, words
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("[b-e].mp4")) and not list(tmp_path.glob(".*"))
