"""The face step on a real photograph (scikit-image's astronaut) moved, turned and scaled by known amounts."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from aullm_hf.data import faces
from aullm_hf.data.errors import ClipError, FaceError
from aullm_hf.data.faces import FaceFinder, FaceRecipe, alignment, crop_clip, find_face_model, resize_square, warp

NONE = FaceRecipe(face="none")


@pytest.fixture(scope="module")
def photo():
    from skimage.data import astronaut

    return astronaut()


@pytest.fixture(scope="module")
def finder(face_model):
    return FaceFinder(face_model)


@pytest.fixture(scope="module")
def face(finder, photo):
    return finder.find(photo)


def moved(photo, face, width, turn=0.0, shift=(0.0, 0.0)):
    """The photograph with the face `width` pixels wide, turned and shifted; and the (2, 3) matrix that did it."""
    scale, side = width / face.box[2], int(max(width * 2.2, 256))
    angle = np.deg2rad(turn)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = face.points.mean(axis=0)
    matrix = np.hstack([matrix, (np.array([side, side]) * (0.5 + np.array(shift)) - matrix @ centre)[:, None]])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.warpAffine(photo, matrix, (side, side), flags=how, borderMode=cv2.BORDER_REPLICATE), matrix


def through(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize(
    ("width", "turn", "shift"),
    [
        (96, 0, (0, 0)),
        (96, 25, (0.08, -0.05)),
        (180, -20, (-0.1, 0.1)),
        (300, 10, (0.05, 0.05)),
        (640, -30, (0.1, 0)),
        (1000, 15, (0, 0.1)),
        (2000, 0, (0.03, 0.02)),
        (2000, -12, (0, 0)),
    ],
)
def test_alignment_undoes_known_motion(finder, photo, face, width, turn, shift):
    image, matrix = moved(photo, face, width, turn, shift)
    found = finder.find(image)
    assert found is not None and 0.7 < found.box[2] / width < 1.4
    eyes = face.points[:2]
    here = through(alignment(found.points, 64), through(matrix, eyes))
    there = through(alignment(face.points, 64), eyes)
    assert np.abs(here - there).max() < 1.0


def test_the_eyes_come_to_the_templates_place(face):
    eyes = through(alignment(face.points, 64), face.points[:2])
    assert np.abs(eyes - (faces.TEMPLATE[:2] * 64 - 0.5)).max() < 2.5


def test_a_still_clip_stays_still_to_the_last_bit(finder, photo):
    crops, found = crop_clip([photo] * 5, FaceRecipe(), finder)
    assert crops.shape == (5, 64, 64) and crops.dtype == np.uint8 and found.frame == 0
    assert (crops == crops[0]).all()
    again, _ = crop_clip([photo] * 2, FaceRecipe(), finder)
    np.testing.assert_array_equal(again[0], crops[0])


def test_one_transform_serves_the_whole_clip(finder, photo):
    shifted = np.roll(photo, 6, axis=1)
    crops, _ = crop_clip([photo, shifted], FaceRecipe(size=128), finder)
    alone, _ = crop_clip([shifted], FaceRecipe(size=128), finder)
    kept = np.abs(crops[1].astype(int) - crops[0]).mean()  # the motion is still there;
    taken = np.abs(alone[0].astype(int) - crops[0]).mean()  # with a transform of its own it would be taken away
    assert kept > 2 * taken


def test_later_frames_are_tried_and_then_it_is_an_error(finder, photo):
    empty = np.full_like(photo, 90)
    crops, found = crop_clip([empty, empty, photo, photo], FaceRecipe(), finder)
    assert found.frame == 2 and len(crops) == 4
    with pytest.raises(FaceError, match=r"no face in the first 3 frames.*face='none'"):
        crop_clip([empty] * 5, FaceRecipe(tries=3), finder)


def test_gray_and_rgb_give_the_same_face(finder, photo, face):
    gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(finder.find(gray).points, face.points)


def test_threads_share_a_finder(finder, photo, face):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(finder.find, [photo] * 4):
            np.testing.assert_array_equal(found.points, face.points)


def test_warp_takes_means_over_all_it_covers():
    stripes = np.zeros((640, 640), np.uint8)
    stripes[:, ::2] = 200  # finer than the crop can show: anything but 100 is an alias
    crop = warp(stripes, np.array([[0.1, 0.0, -0.45], [0.0, 0.1, -0.45]]), 64)
    assert np.abs(crop.astype(int) - 100).max() <= 2


def test_warp_is_the_identity_where_nothing_moves():
    image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    np.testing.assert_array_equal(warp(image, np.array([[1.0, 0, 0], [0, 1.0, 0]]), 64), image)


@pytest.mark.parametrize(
    ("shape", "fit"), [((340, 280), "pad"), ((480, 640), "crop"), ((20, 30), "pad"), ((64, 64), "pad")]
)
def test_nothing_is_squashed(shape, fit):
    image = np.zeros(shape, np.uint8)
    centre, radius = (shape[1] // 2, shape[0] // 2), min(shape) // 4
    cv2.circle(image, centre, radius, 255, -1)
    square = resize_square(image, 64, fit) > 127
    height, width = np.ptp(np.nonzero(square.any(axis=1))), np.ptp(np.nonzero(square.any(axis=0)))
    assert square.shape == (64, 64) and abs(height - width) <= 1


def test_resizing_is_by_area():
    image = np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)
    means = image.reshape(64, 2, 64, 2).mean(axis=(1, 3))
    assert np.abs(resize_square(image, 64) - means).max() <= 0.5


def test_frames_of_other_types_are_refused():
    for frames, said in (
        ([np.zeros((8, 8), np.float32)], "uint8"),
        ([np.zeros((8, 8, 4), np.uint8)], r"\(8, 8, 4\)"),
        ([], "no frames"),
    ):
        with pytest.raises(ClipError, match=said):
            crop_clip(frames, NONE)
    with pytest.raises(ValueError, match="needs a FaceFinder"):
        crop_clip([np.zeros((8, 8), np.uint8)], FaceRecipe())


def test_the_recipe_is_json_and_says_what_is_allowed():
    import json

    recipe = FaceRecipe(size=96, detector="abc")
    assert FaceRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    for wrong, said in (
        ({"face": "auto"}, "face='auto'"),
        ({"size": 3}, "size=3"),
        ({"fit": "squash"}, "fit='squash'"),
        ({"tries": 0}, "tries=0"),
    ):
        with pytest.raises(ValueError, match=said):
            FaceRecipe(**wrong)
    with pytest.raises(ValueError, match="has no"):
        FaceRecipe.from_dict({"eyes": 2})


def test_the_model_is_taken_from_the_argument_the_environment_or_the_hub(monkeypatch, tmp_path):
    weights = tmp_path / "yunet.onnx"
    weights.write_bytes(b"weights")
    monkeypatch.delenv(faces.MODEL_VARIABLE, raising=False)
    assert find_face_model(weights) == weights
    monkeypatch.setenv(faces.MODEL_VARIABLE, str(weights))
    assert find_face_model() == weights
    monkeypatch.setenv(faces.MODEL_VARIABLE, str(tmp_path / "gone.onnx"))
    with pytest.raises(FaceError, match=r"AULLM_FACE_MODEL=.*is not a file"):
        find_face_model()
    monkeypatch.delenv(faces.MODEL_VARIABLE)
    asked = {}

    def fake_download(repo, file, revision):
        asked.update(repo=repo, file=file, revision=revision)
        return str(weights)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fake_download)
    with pytest.raises(FaceError, match=r"has the sha256 .* is expected; delete it"):
        find_face_model()
    assert asked == {"repo": "opencv/face_detection_yunet", "file": faces.HUB_FILE, "revision": faces.HUB_REVISION}
    monkeypatch.setattr(faces, "HUB_SHA256", faces.model_digest(weights))
    assert find_face_model() == weights


def test_without_a_connection_the_way_out_is_said(monkeypatch):
    monkeypatch.delenv(faces.MODEL_VARIABLE, raising=False)

    def no_connection(*args, **kwargs):
        raise OSError("offline")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", no_connection)
    with pytest.raises(FaceError, match=r"OSError: offline.*face_model=.*AULLM_FACE_MODEL.*face='none'"):
        find_face_model()


def test_a_file_that_is_no_model_is_an_error(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(FaceError, match="is not a YuNet model"):
        FaceFinder(tmp_path / "x.onnx")


def test_faces_come_without_datasets_and_torch():
    code = "import sys, aullm_hf.data.faces; assert not {'datasets', 'torch', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
