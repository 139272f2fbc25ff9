"""Frames by index and time: right timestamps, the right way up, the same after a jump, errors that say where."""

from pathlib import Path

import av
import numpy as np
import pytest

from aullm_hf.data.errors import ClipError
from aullm_hf.data.faces import to_gray
from aullm_hf.data.reading.images import read_gray
from aullm_hf.data.reading.videos import read_video
from aullm_hf.inference.reading import frames as frames_module
from aullm_hf.inference.reading.clip_source import ClipSource
from aullm_hf.inference.reading.frames import (
    ArrayFrames,
    FrameCountError,
    VideoFrames,
    as_frame,
    folder_frames,
    measured_fps,
    open_frames,
    select_range,
)
from aullm_hf.model import AULLMVideoProcessor
from support.videos import noise, write_folder, write_video


def read_all(frames, first: int = 0) -> np.ndarray:
    with frames.reading(first) as get:
        return np.stack([get(index) for index in range(first, len(frames))])


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".MKV", ".nut"])
def test_lossless_videos_come_back_bit_for_bit(tmp_path, suffix):
    pictures = noise(7, colour=True)
    frames = VideoFrames(write_video(tmp_path / f"Ä clip 1{suffix}", pictures))
    np.testing.assert_array_equal(read_all(frames), np.stack(pictures))
    assert frames.times == pytest.approx(np.arange(7) / 25)
    assert measured_fps(frames.times) == pytest.approx(25)


@pytest.mark.parametrize(("height", "width"), [(47, 63), (1, 33), (100, 2)])
def test_odd_sizes_and_gray_videos_come_back_bit_for_bit(tmp_path, height, width):
    pictures = noise(3, height, width)
    got = read_all(VideoFrames(write_video(tmp_path / "gray.mkv", pictures)))
    np.testing.assert_array_equal(got, np.stack(pictures))


def test_a_name_with_a_colon_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.mkv", noise(6)).rename("12:30.mkv")
    assert len(VideoFrames(Path("12:30.mkv"))) == 6
    assert AULLMVideoProcessor()("12:30.mkv")["pixel_values"].isfinite().all()


@pytest.mark.parametrize(("suffix", "codec", "pixels"), [(".mkv", "ffv1", "bgr0"), (".mkv", "libx264", "yuv420p")])
def test_varying_frame_rates_have_their_own_times(tmp_path, suffix, codec, pixels):
    times = [0, 40, 50, 200, 203, 1000, 1001, 1500]
    path = write_video(tmp_path / f"vfr{suffix}", noise(8, colour=True), codec=codec, pixels=pixels, times=times)
    frames = VideoFrames(path)
    assert frames.times == pytest.approx(np.array(times) / 1000)
    assert measured_fps(frames.times) == pytest.approx(7 / 1.5)
    assert len(read_all(frames)) == 8  # B-frames are stored in another order than they are shown in


def test_the_callers_frame_rate_goes_before_the_files(tmp_path):
    path = write_video(tmp_path / "slow.mkv", noise(11), rate=25)  # filmed at 200, stored for watching
    assert VideoFrames(path, fps=200).times == pytest.approx(np.arange(11) / 200)


def test_without_timestamps_the_headers_rate_is_taken_and_said(tmp_path):
    path = write_video(tmp_path / "raw.h264", noise(6, colour=True), codec="libx264", pixels="yuv420p")
    frames = VideoFrames(path)
    assert "has no timestamps" in frames.note and len(read_all(frames)) == 6
    assert VideoFrames(path, fps=50).note == "" and VideoFrames(path, fps=50).times[-1] == pytest.approx(0.1)


@pytest.mark.parametrize("turn", [90, -90, 180])
def test_videos_are_read_the_right_way_up(tmp_path, turn):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:12, :16] = 250  # a bright corner
    path = write_video(tmp_path / "phone.mov", [picture] * 3, codec="png", pixels="rgb24", rotation=turn)
    expected = np.rot90(picture, turn // 90)
    np.testing.assert_array_equal(read_all(VideoFrames(path))[0], expected)
    np.testing.assert_array_equal(next(read_video(path, "phone", 1, 1)), to_gray(expected))  # training sees the same


@pytest.mark.parametrize("first", [1, 17, 30, 59])
def test_a_jump_leads_to_the_same_frames(tmp_path, first):
    path = write_video(
        tmp_path / "long.mkv", noise(60, colour=True), codec="libx264", pixels="yuv420p", g="12", bf="2"
    )
    frames = VideoFrames(path)
    np.testing.assert_array_equal(read_all(frames, first), read_all(frames)[first:])


def test_what_the_decoder_leaves_out_is_noticed(tmp_path, monkeypatch):
    path = write_video(tmp_path / "clip.mkv", noise(6))
    frames = VideoFrames(path)
    frames.ticks = [*frames.ticks[:3], frames.ticks[3] - 7, *frames.ticks[3:]]  # a packet that shows nothing
    with pytest.raises(FrameCountError, match="frame 4 cannot be decoded"):
        read_all(frames)
    counted = VideoFrames(path, by_decoding=True)
    np.testing.assert_array_equal(read_all(counted), np.stack(noise(6)))
    assert counted.times == pytest.approx(np.arange(6) / 25)


def test_a_damaged_video_says_so_and_keeps_what_came_before(tmp_path, make_detector):
    path = write_video(tmp_path / "bad.mov", noise(60, colour=True), codec="png", pixels="rgb24")
    with av.open(str(path)) as container:
        begins = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    data[begins[40] : begins[40] + 64] = bytes(64)
    path.write_bytes(data)
    (whole,) = make_detector().read(path)
    assert "the video is damaged after frame 40" in whole.reason and whole.frames is None
    windows = list(make_detector(window=0.2).read(path))
    broken = [clip for clip in windows if clip.reason]
    assert 0 < len(broken) < 5 and windows[: -len(broken)] == [clip for clip in windows if not clip.reason]
    assert all("the video is damaged after frame 40" in clip.reason for clip in broken)
    assert windows[-len(broken) - 1].end < 40 / 25 and windows[-1].end == pytest.approx(59 / 25)  # nothing is left out


FORMS = {"mp4": ".mp4", "fragmented": ".mp4", "mov": ".mov", "avi": ".avi", "matroska": ".mkv", "transport": ".ts"}


@pytest.fixture(scope="module", params=FORMS)
def whole(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / f"clip{FORMS[request.param]}"
    options = {"movflags": "frag_keyframe+empty_moov"} if request.param == "fragmented" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4" if request.param == "avi" else "libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.options = {"g": "12"}
        for picture in noise(72, colour=True):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_whole_file_is_not_called_cut_off(whole):
    assert VideoFrames(whole).note == "" and len(VideoFrames(whole)) == 72


@pytest.mark.parametrize("share", [0.3, 0.55, 0.9])
def test_a_file_that_is_cut_off_says_so(whole, share, tmp_path, make_detector):
    if whole.suffix == ".ts":
        pytest.skip("a transport stream may begin and end anywhere")
    data, path = whole.read_bytes(), tmp_path / whole.name
    path.write_bytes(data[: int(share * len(data))])
    (clip,) = make_detector().read(path)
    if clip.reason:  # where the index is at the end of a file, nothing of it can be read
        assert "video" in clip.reason
    else:
        assert "the file is cut off" in clip.warning and clip.frames_read < 72


def test_a_fragment_that_is_only_begun_is_noticed(whole, tmp_path):
    """Its packets are whole and its header says nothing: 38 of 72 frames would be read without a word."""
    data = whole.read_bytes()
    if data.count(b"moof") < 5:
        pytest.skip("has no fragments")
    begins = [at - 4 for at in range(len(data)) if data[at : at + 4] == b"moof"]
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: begins[3] + 60])
    frames = VideoFrames(path)
    assert f"the file is cut off after frame {len(frames)}" in frames.note and len(frames) < 40


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"only text\n" * 50, "is no readable video"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "is no readable video"),
    ],
)
def test_what_is_no_video_says_so(tmp_path, content, said):
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(ClipError, match=said) as raised:
        VideoFrames(tmp_path / "clip.mp4")
    assert "clip.mp4" not in str(raised.value)  # the row's own column names the source


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(ClipError, match="holds no video stream"):
        VideoFrames(tmp_path / "sound.mkv")


def test_a_recording_is_listed_once_for_many_clips_of_it(tmp_path, monkeypatch):
    path = write_video(tmp_path / "long.mkv", noise(20))
    VideoFrames(path)
    monkeypatch.setattr(frames_module, "open_video", None)
    assert len(VideoFrames(path)) == 20


# -------------------------------------------------------------------- folders and arrays


def test_folders_come_in_the_order_of_their_numbers_with_gaps_in_time(tmp_path):
    pictures = noise(12)
    folder = write_folder(tmp_path / "EP01", pictures, first=8)
    (folder / "img10.png").unlink()
    (folder / "notes.txt").write_text("x")
    frames = folder_frames(folder, fps=100)
    assert frames.numbers.tolist() == [8, 9, *range(11, 20)]
    assert frames.times == pytest.approx((frames.numbers - 8) / 100)
    assert "1 of 12 frame numbers are missing" in frames.note and "notes.txt" in frames.note
    np.testing.assert_array_equal(read_all(frames), np.stack(pictures[:2] + pictures[3:]))


def test_folders_that_are_no_clip_say_why(tmp_path):
    both = write_folder(write_folder(tmp_path / "two", noise(3), "a{}.png"), noise(3), "b{}.png")
    for folder, said in ((both, "several series of frames, named 'a' and 'b'"), (tmp_path, "no numbered images")):
        with pytest.raises(ClipError, match=said):
            folder_frames(folder)


def test_coloured_pictures_are_the_same_gray_in_every_form(tmp_path):
    picture = noise(1, colour=True)[0]
    folder = write_folder(tmp_path / "f", [picture])
    video = write_video(tmp_path / "v.mkv", [picture])
    gray = to_gray(picture)
    np.testing.assert_array_equal(read_gray(folder / "img1.png", "img1.png"), gray)
    np.testing.assert_array_equal(to_gray(read_all(VideoFrames(video))[0]), gray)
    np.testing.assert_array_equal(to_gray(read_all(ArrayFrames([picture]))[0]), gray)


def test_pictures_of_every_kind_become_bytes():
    import torch
    from PIL import Image

    picture = noise(1, colour=True)[0]
    alpha = np.dstack([picture, noise(1, seed=1)[0]])
    fractions = picture.astype(np.float32) / 255
    for given in (picture, alpha, fractions, picture.astype(np.int64), torch.from_numpy(picture),
                  Image.fromarray(picture), Image.fromarray(alpha)):  # fmt: skip
        np.testing.assert_array_equal(as_frame(given, "frame"), picture)
    np.testing.assert_array_equal(as_frame(picture[:, :, :1], "frame"), picture[:, :, 0])
    one_bit = Image.fromarray(picture[:, :, 0] > 127)
    assert set(np.unique(as_frame(one_bit, "frame"))) == {0, 255}


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (np.full((4, 4), 1.5), r"float64 from 1.5 to 1.5; expected 0..1"),
        (np.full((4, 4), np.nan), "expected 0..1"),
        (np.full((4, 4), 300), "expected 0..255"),
        (np.full((4, 4), -1), "expected 0..255"),
        (np.zeros((4, 4), bool), "dtype bool"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
    ],
)
def test_frames_that_are_none_are_refused_with_what_is_expected(frame, said):
    with pytest.raises(ClipError, match=said):
        as_frame(frame, "frame 3")


# -------------------------------------------------------------------- parts


def test_parts_are_named_by_frame_numbers_or_seconds(tmp_path):
    folder = write_folder(tmp_path / "EP01", noise(10), first=40)
    video = write_video(tmp_path / "v.mkv", noise(50))

    def part(path, **asked):
        source = ClipSource("x", path, **asked)
        return select_range(open_frames(source), source)

    assert part(folder, onset=42, offset=45)[:2] == (2, 5)
    assert part(video, onset=3, offset=5)[:2] == (2, 4)  # frames of a video count from 1
    assert part(video, start=0.4, end=0.8)[:2] == (10, 20)
    assert part(video, start=1.0)[:2] == (25, 49)
    assert part(folder, start=0.1, end=0.2, fps=20)[:2] == (2, 4)
    assert part(folder, onset=30, offset=44) == (0, 4, "has the frames 40..49, of 30..44 asked for")
    for path, asked, said in (
        (folder, {"onset": 60, "offset": 70}, "no frame from 60 to 70; it has the frames 40..49"),
        (video, {"start": 3, "end": 4}, "no frame from 3 to 4 s; it runs from 0.000 to 1.960 s"),
        (folder, {"start": 1}, "nothing says how fast its frames come"),
    ):
        with pytest.raises(ClipError, match=said):
            part(path, **asked)
