"""A real photograph that moves by known amounts: the training crop bit for bit, boxes and numbers that follow."""

from contextlib import nullcontext

import numpy as np
import pytest

from aullm_hf.data.faces import FaceFinder, FaceRecipe, crop_clip
from aullm_hf.inference.reading import frames as frames_module
from aullm_hf.model.processing_aullm import evenly_spaced
from support.videos import moving, write_folder, write_video


@pytest.fixture(scope="module")
def finder(face_model):
    return FaceFinder(face_model)


@pytest.fixture(scope="module")
def face(finder, photo):
    return finder.find(photo)


@pytest.fixture(scope="module")
def two(photo, face):
    """Two faces side by side, the right one smaller: (400, 1024, 3)."""
    import cv2

    right = cv2.resize(photo, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    canvas = np.full((400, 1024, 3), 90, np.uint8)
    canvas[:, :512] = photo
    canvas[: right.shape[0], 560 : 560 + right.shape[1]] = right
    return canvas


@pytest.fixture(scope="module")
def clip(photo):
    """Half a second: a slow movement to the right and down."""
    return moving(photo, [(0.7 * step, 0.4 * step) for step in range(13)])


# -------------------------------------------------------------------- the training crop


def test_the_crop_is_the_training_crop_bit_for_bit(tmp_path, clip, make_face_detector, face_processor, finder):
    trained, _ = crop_clip(clip, FaceRecipe.from_dict(face_processor.face), finder)
    sampled = trained[evenly_spaced(face_processor.num_frames, len(clip) - 1)]
    detector = make_face_detector()
    video, folder = write_video(tmp_path / "v.mkv", clip), write_folder(tmp_path / "f", clip)
    for source in (video, folder, np.stack(clip), [folder / f"img{at}.png" for at in range(1, 14)]):
        (read,) = detector.read(source)
        np.testing.assert_array_equal(read.frames, sampled)
        assert read.face_found and read.frames_read == 13 and read.reason == read.warning == ""


def test_what_load_clips_trains_on_is_what_is_read(tmp_path, clip, make_face_detector, face_model):
    from aullm_hf import load_clips

    write_video(tmp_path / "own" / "smile.mkv", clip)
    (tmp_path / "own" / "clips.csv").write_text("clip,subject,aus,onset,offset\nsmile,anna,12,3,11\n")
    trained = load_clips(tmp_path / "own", size=32, face_model=face_model, cache_dir=tmp_path / "cache", workers=1)
    frames = np.array(trained[0]["frames"], dtype=np.uint8)
    (tmp_path / "list.csv").write_text("path,onset,offset\nown/smile.mkv,3,11\n")
    (read,) = make_face_detector().read(tmp_path / "list.csv")
    np.testing.assert_array_equal(read.frames, frames[evenly_spaced(6, len(frames) - 1)])


def test_a_window_of_a_recording_is_the_training_crop_of_its_frames(tmp_path, photo, make_face_detector, finder):
    frames = moving(photo, [(1.5 * step, 0) for step in range(26)])
    recipe = FaceRecipe(size=32)
    windows = list(make_face_detector(window=0.4, stride=0.2).read(write_video(tmp_path / "v.mkv", frames)))
    assert len(windows) == 5
    for window in windows:
        first = round(window.start * 25)
        crops, found = crop_clip(frames[first : first + window.frames_read], recipe, finder)
        np.testing.assert_array_equal(window.frames, crops[evenly_spaced(6, len(crops) - 1)])
        assert window.box == found.box


def test_a_face_that_comes_later_is_found_as_in_training(tmp_path, photo, make_face_detector, finder):
    empty = np.full_like(photo, 90)
    frames = [empty] * 3 + [photo] * 9
    trained, found = crop_clip(frames, FaceRecipe(size=32), finder)
    (read,) = make_face_detector().read(write_video(tmp_path / "v.mkv", frames))
    np.testing.assert_array_equal(read.frames, trained[evenly_spaced(6, 11)])
    assert found.frame == 3 and read.box == found.box


def test_of_a_folder_only_the_sampled_frames_are_decoded(tmp_path, clip, make_face_detector, monkeypatch):
    folder = write_folder(tmp_path / "f", clip)
    decoded, read_image = [], frames_module.read_image
    monkeypatch.setattr(
        frames_module, "read_image", lambda path, shown: decoded.append(path.name) or read_image(path, shown)
    )
    list(make_face_detector().read(folder))
    assert decoded == [f"img{index + 1}.png" for index in evenly_spaced(6, 12)]  # the onset is the first of them


# -------------------------------------------------------------------- boxes and numbers


def test_boxes_follow_a_moving_face(tmp_path, photo, face, make_face_detector):
    frames = moving(photo, [(2.0 * step, 0) for step in range(30)])
    for mode in ("align", "follow"):
        with pytest.warns(UserWarning) if mode == "follow" else nullcontext():
            detector = make_face_detector(face=mode, window=0.4, stride=0.4)
        windows = list(detector.read(write_video(tmp_path / "v.mkv", frames)))
        assert len(windows) == 3 and all(window.face_found for window in windows)
        for window in windows:
            moved_by = 50 * window.start  # 2 pixels a frame, 25 frames a second
            centre = window.box[0] + window.box[2] / 2
            assert centre == pytest.approx(face.box[0] + face.box[2] / 2 + moved_by, abs=6)
            assert window.box[1] + window.box[3] / 2 == pytest.approx(face.box[1] + face.box[3] / 2, abs=6)


def test_a_crop_that_follows_takes_the_heads_motion_away(tmp_path, photo, make_face_detector):
    path = write_video(tmp_path / "v.mkv", moving(photo, [(3.0 * step, 0) for step in range(26)]))
    with pytest.warns(UserWarning, match="the crop followed the face"):
        following = make_face_detector(face="follow", window=0)
    (followed,), (still,) = following.read(path), make_face_detector(window=0).read(path)

    def change(read):
        return np.abs(read.frames[-1].astype(int) - read.frames[0])[8:24, 8:24].mean()

    assert change(followed) < 0.5 * change(still)
    assert "followed" in following.rows([followed])["warning"].item() and still.warning == ""


def test_two_faces_keep_their_numbers_while_they_move(tmp_path, two, make_face_detector):
    frames = moving(two, [(1.0 * step, 0.5 * step) for step in range(30)])
    windows = list(
        make_face_detector(faces="all", window=0.4, stride=0.4).read(write_video(tmp_path / "v.mkv", frames))
    )
    assert [(window.clip, window.face_id) for window in windows] == [(at, face) for at in range(3) for face in (0, 1)]
    for face_id in (0, 1):
        lefts = [window.box[0] for window in windows if window.face_id == face_id]
        moved_by = [25 * window.start for window in windows if window.face_id == face_id]  # a pixel a frame
        assert np.subtract(lefts, lefts[0]) == pytest.approx(moved_by, abs=5)
    assert windows[0].box[2] > windows[1].box[2]  # the larger is number 0, the one that "largest" reads
    largest = list(make_face_detector(window=0.4, stride=0.4).read(tmp_path / "v.mkv"))
    for alone, first in zip(largest, windows[::2], strict=True):
        np.testing.assert_array_equal(alone.frames, first.frames)


def test_every_face_is_found_once(two, finder):
    faces = finder.find_all(two)
    assert len(faces) == 2 and faces[0].box == finder.find(two).box
    np.testing.assert_array_equal(faces[0].points, finder.find(two).points)


# -------------------------------------------------------------------- failures


def test_a_window_without_a_face_is_a_row_among_the_others(tmp_path, photo, make_face_detector):
    frames = [photo] * 10 + [np.full_like(photo, 90)] * 20 + [photo] * 10
    path = write_video(tmp_path / "v.mkv", frames)
    for faces in ("largest", "all"):
        rows = make_face_detector(faces=faces, window=0.4, stride=0.4)
        table = rows.rows(list(rows.read(path)))
        found = table["face_found"].tolist()
        assert found[0] is True and found[-1] is True and False in found
        empty = table[~table["face_found"]]
        assert empty["reason"].str.startswith("no face in its first").all() and empty["p_AU4"].isna().all()
        assert table[table["face_found"]]["p_AU4"].notna().all()
