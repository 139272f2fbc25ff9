"""Crop a clip to its face: one box and one similarity transform, from the onset frame, for all of its frames.

A transform per frame would follow the detector's jitter and the head, and its trembling is as large as a
micro-expression; one per clip adds no motion of its own, and a clip that stands still stays still to the last bit.
Five points (eyes, nose, mouth corners) are found by YuNet and moved into one fixed template. The search is made twice:
anywhere in the image, then on the upright face at one fixed size, which frees the points from scale and rotation.
Training data and inference share this file; the recipe that made a crop is plain JSON.
"""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from ..arguments import check_choice, check_number, check_path, check_whole, shown
from .errors import ClipError, FaceError
from .reading.images import import_cv2
from .template import TEMPLATE, similarity

HUB_REPO = "opencv/face_detection_yunet"
HUB_FILE = "face_detection_yunet_2023mar.onnx"
HUB_REVISION = "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310"
HUB_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
MODEL_VARIABLE = "AULLM_FACE_MODEL"

_QUICK = 224  # pixels of an image's longer side in a search for large faces only
_CANVAS = 640  # YuNet's input is square and of this size in every release
_VIEW, _UPRIGHT = 320, 200  # the second search: a view's side, and the side of the face's crop in its middle
# Four views of the upright face fill one canvas: (turn in degrees, scale, mirrored). Their mean has less of the
# detector's own error than any one of them, and none of its preference for a side.
_VIEWS = ((4.0, 0.94, False), (-4.0, 1.06, False), (4.0, 1.06, True), (-4.0, 0.94, True))
_MIRRORED = [1, 0, 2, 4, 3]  # the order of the five points in a mirror
_LOG_LEVEL = threading.Lock()  # it is everybody's: one detector at a time changes it


@dataclass(frozen=True)
class FaceRecipe:
    """How frames become crops; part of the data's fingerprint and of the processor's JSON."""

    face: Literal["align", "none"] = "align"
    size: int = 64
    fit: Literal["pad", "crop"] = "pad"  # face="none": make a frame square by its edges' colour, or by cutting
    detector: str = ""  # sha256 of the detector's weights; empty without detection
    min_score: float = 0.6
    tries: int = 10  # frames looked at for a face, from the onset on
    template: str = "five-points-1"

    def __post_init__(self):
        for name, allowed in {
            "face": ("align", "none"),
            "fit": ("pad", "crop"),
            "template": ("five-points-1",),
        }.items():
            check_choice(name, getattr(self, name), allowed)
        check_whole("size", self.size, 8, 1025)
        check_number("min_score", self.min_score, 0, 1)
        check_whole("tries", self.tries, 1, 1 << 20)
        if not isinstance(self.detector, str):
            raise ValueError(f"detector={shown(self.detector)} is not allowed; give the detector's sha256, or ''")

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "FaceRecipe":
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict):
            raise ValueError(f"a face recipe is a dictionary, not {shown(values)}")
        if unknown := set(values) - known:
            raise ValueError(f"a face recipe has no {sorted(map(str, unknown))}; it has {sorted(known)}")
        return cls(**values)


@dataclass(frozen=True)
class Face:
    """One face in an image: box (x, y, width, height), five points (5, 2), in pixels, and the detector's score."""

    box: tuple[float, float, float, float]
    points: np.ndarray = field(repr=False)
    score: float
    frame: int = 0  # index of the frame it was found in


def find_face_model(face_model: str | os.PathLike | None = None) -> Path:
    """YuNet's weights: the path given, the one in AULLM_FACE_MODEL, or the pinned file of the Hub (then cached)."""
    chosen, by = (
        (face_model, "face_model")
        if face_model is not None
        else (os.environ.get(MODEL_VARIABLE) or None, MODEL_VARIABLE)
    )
    if chosen is not None:
        check_path(by, chosen, f"YuNet's .onnx file ({HUB_FILE})")
        path = Path(chosen).expanduser()
        if not path.is_file():
            raise FaceError(f"{by}={str(chosen)!r} is not a file; it should be YuNet's .onnx file ({HUB_FILE})")
        return path
    from huggingface_hub import hf_hub_download

    try:
        path = Path(hf_hub_download(HUB_REPO, HUB_FILE, revision=HUB_REVISION))
    except Exception as error:  # no network, no entry in the cache, a proxy: the way out is the same
        raise FaceError(
            f"the face detector {HUB_REPO}/{HUB_FILE} could not be had ({type(error).__name__}: {error}). "
            f"Fetch it once with a connection, or pass face_model= (or set {MODEL_VARIABLE}) to the .onnx file; "
            "clips that are cropped already need face='none'"
        ) from error
    if (digest := model_digest(path)) != HUB_SHA256:
        raise FaceError(f"{path} has the sha256 {digest}, but {HUB_SHA256} is expected; delete it and fetch it again")
    return path


def local_face_model() -> Path | None:
    """The weights that `find_face_model` would find without fetching them; None where there are none."""
    if os.environ.get(MODEL_VARIABLE):
        return find_face_model()
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(HUB_REPO, HUB_FILE, revision=HUB_REVISION)
    return Path(cached) if isinstance(cached, str) else None


@lru_cache(maxsize=16)
def _digest(path: str, size: int, mtime: int) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def model_digest(path: Path) -> str:
    stat = path.stat()
    return _digest(str(path), stat.st_size, stat.st_mtime_ns)


class FaceFinder:
    """YuNet behind one method. Safe to share between threads: each gets its own detector."""

    def __init__(self, face_model: str | os.PathLike | None = None):
        self.cv2 = import_cv2()
        self.path = find_face_model(face_model)
        self.digest = model_digest(self.path)
        self._own = threading.local()
        self.detect(np.zeros((_CANVAS, _CANVAS), np.uint8), 1.0)  # a file that is no detector is told now, once

    def detect(self, canvas: np.ndarray, threshold: float) -> np.ndarray:
        """(n, 15): box, five points, score, in pixels of the canvas, gray, both sides multiples of 32."""
        detectors = self._own.__dict__.setdefault("detectors", {})  # by size: another size would set one up anew
        if canvas.shape not in detectors:
            detectors[canvas.shape] = self._new_detector(*canvas.shape)
        detectors[canvas.shape].setScoreThreshold(threshold)
        found = detectors[canvas.shape].detect(self.cv2.cvtColor(canvas, self.cv2.COLOR_GRAY2BGR))[1]
        return np.zeros((0, 15)) if found is None else found.astype(np.float64)

    def _new_detector(self, height: int, width: int):
        logging = self.cv2.utils.logging
        with _LOG_LEVEL:  # OpenCV warns, on every start, of a setting that is its own
            level = logging.setLogLevel(logging.LOG_LEVEL_ERROR)
            try:
                return self.cv2.FaceDetectorYN.create(str(self.path), "", (width, height), 0.6, 0.3, 50)
            except self.cv2.error as error:
                raise FaceError(f"{self.path} is not a YuNet model OpenCV can load ({error.err or error})") from error
            finally:
                logging.setLogLevel(level)

    def find(self, image: np.ndarray, min_score: float = 0.6) -> Face | None:
        """The main face of a gray or RGB image: the largest of those the detector is sure of."""
        gray = to_gray(image)
        faces = self._search(gray, min_score)
        return self._located(gray, faces[0]) if faces else None

    def find_rough(self, image: np.ndarray, min_score: float = 0.6) -> Face | None:
        """The largest face, with points only as exact as one look gives them."""
        return next(iter(self.find_large(image, min_score)), None)

    def find_large(self, image: np.ndarray, min_score: float = 0.6) -> list[Face]:
        """Faces that fill much of the image, the largest first, with points only as exact as one look gives them.

        They are found in a small look, at a tenth of what `find` costs; only where there is none, and a larger look
        could show more, that is taken.
        """
        gray = to_gray(image)
        sides = sorted({_QUICK, max(_QUICK, min(max(gray.shape), _CANVAS))})
        looks = (self._look(gray, _whole(gray), side, min_score, fitted=True) for side in sides)
        return sorted(next(filter(None, looks), []), key=lambda face: -face.box[2] * face.box[3])

    def find_all(self, image: np.ndarray, min_score: float = 0.6) -> list[Face]:
        """Every face of a gray or RGB image, once; the first is the one that `find` gives."""
        gray = to_gray(image)
        return [self._located(gray, face) for face in _distinct(self._search(gray, min_score))]

    def find_boxes(self, image: np.ndarray, min_score: float = 0.6) -> list[Face]:
        """As `find_all`, with points only as exact as one look gives them: where no crop is made of them."""
        return _distinct(self._search(to_gray(image), min_score, fitted=True))

    def find_again(self, image: np.ndarray, face: Face) -> Face | None:
        """The face near where it was a moment ago, at a fifth of what `find` costs; None where a view loses it."""
        gray, points, factor = self._reduced(to_gray(image), face.points)
        seen = self._seen(gray, points)
        if len(seen) < len(_VIEWS):
            return None
        points = (np.mean(seen, axis=0) + 0.5) * factor - 0.5
        moved = similarity(face.points, points)
        scale, (x, y, width, height) = float(np.hypot(*moved[:, 0])), face.box
        centre = moved[:, :2] @ (x + width / 2, y + height / 2) + moved[:, 2]
        width, height = width * scale, height * scale
        box = float(centre[0] - width / 2), float(centre[1] - height / 2), width, height
        return Face(box=box, points=points, score=face.score)

    def _located(self, gray: np.ndarray, rough: Face) -> Face:
        """The face with its points found again on the upright face at one fixed size."""
        gray, points, factor = self._reduced(gray, rough.points)
        for _ in range(3):
            seen = self._seen(gray, points)
            points = np.mean(seen, axis=0) if seen else points  # where the detector loses the face, as they were
        return Face(box=rough.box, points=(points + 0.5) * factor - 0.5, score=rough.score)

    def _reduced(self, gray: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """The image and the points, reduced by a whole factor: views need no more than _UPRIGHT pixels of a face."""
        spread = float(np.linalg.norm(points - points.mean(axis=0)))
        factor = max(int(spread / np.linalg.norm(TEMPLATE - TEMPLATE.mean(axis=0)) / _UPRIGHT), 1)
        height, width = (length // factor for length in gray.shape)
        gray = gray[: height * factor, : width * factor]
        small = self.cv2.resize(gray, (width, height), interpolation=self.cv2.INTER_AREA) if factor > 1 else gray
        return small, (points + 0.5) / factor - 0.5, factor

    def _search(self, gray: np.ndarray, min_score: float, *, fitted: bool = False) -> list[Face]:
        """The whole image at two sizes (a face that fills it is too large at the first), then in parts.

        Those the detector is sure of come first, the larger before the smaller; a face may be found at both sizes.
        """
        for parts, sides in (([_whole(gray)], (_CANVAS, _CANVAS // 3)), (_parts(gray.shape), (_CANVAS,))):
            looks = (self._look(gray, part, side, min_score, fitted=fitted) for part in parts for side in sides)
            faces = list(chain.from_iterable(looks))
            if faces:
                sure = max(face.score for face in faces) - 0.2
                return sorted(faces, key=lambda face: (face.score < sure, -face.box[2] * face.box[3]))
        return []

    def _look(
        self, gray: np.ndarray, part: Sequence[int], side: int, min_score: float, *, fitted: bool = False
    ) -> list[Face]:
        """Faces of one part (x, y, width, height), shrunk so that its longer side is `side` pixels.

        It lies in the middle of the whole canvas, or `fitted` in one that is hardly larger.
        """
        x, y, width, height = (int(value) for value in part)
        view = gray[y : y + height, x : x + width]
        scale = side / max(view.shape)
        shape = max(round(width * scale), 1), max(round(height * scale), 1)
        small = self.cv2.resize(view, shape, interpolation=self.cv2.INTER_AREA if scale < 1 else self.cv2.INTER_LINEAR)
        canvas = np.zeros([-(-side // 32) * 32 if fitted else _CANVAS for side in reversed(shape)], np.uint8)
        left, top = (canvas.shape[1] - shape[0]) // 2, (canvas.shape[0] - shape[1]) // 2
        canvas[top : top + shape[1], left : left + shape[0]] = small
        faces = []
        for row in self.detect(canvas, min_score):
            points = (row[4:14].reshape(5, 2) - (left, top) + 0.5) / (shape[0] / width, shape[1] / height) - 0.5
            box = (row[0] - left) / scale + x, (row[1] - top) / scale + y, row[2] / scale, row[3] / scale
            faces.append(Face(box=tuple(map(float, box)), points=points + (x, y), score=float(row[14])))
        return faces

    def _seen(self, gray: np.ndarray, points: np.ndarray) -> list[np.ndarray]:
        """The points as each upright view shows them; a view in which the detector loses the face is left out."""
        canvas = np.empty((_CANVAS, _CANVAS), np.uint8)
        matrices, corners = [], [(0, 0), (_VIEW, 0), (0, _VIEW), (_VIEW, _VIEW)]
        for (turn, scale, mirrored), (x, y) in zip(_VIEWS, corners, strict=True):
            target = (TEMPLATE - 0.5) * _UPRIGHT * scale @ _rotation(turn).T + (_VIEW - 1) / 2
            matrix = similarity(points, target)
            if mirrored:
                matrix = np.array([[-1, 0, _VIEW - 1], [0, 1, 0]]) @ np.vstack([matrix, [0, 0, 1]])
            canvas[y : y + _VIEW, x : x + _VIEW] = warp(gray, matrix, _VIEW)
            matrices.append(matrix)
        five = self.detect(canvas, 0.3)[:, 4:14].reshape(-1, 5, 2)
        centres = five.mean(axis=1)
        seen = []
        for (_, _, mirrored), (x, y), matrix in zip(_VIEWS, corners, matrices, strict=True):
            away = np.linalg.norm(centres - (x + _VIEW / 2, y + _VIEW / 2), axis=1)
            if not len(away) or away.min() > _UPRIGHT / 4:
                continue
            view = five[away.argmin()] - (x, y)
            view = view[_MIRRORED] if mirrored else view
            inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
            seen.append(view @ inverse[:, :2].T + inverse[:, 2])
        return seen


def _whole(gray: np.ndarray) -> tuple[int, int, int, int]:
    return 0, 0, gray.shape[1], gray.shape[0]


def _distinct(faces: list[Face]) -> list[Face]:
    """Each face once, the first of those that share most of a box."""
    distinct: list[Face] = []
    for face in faces:
        if all(_shared(face.box, other.box) < 0.5 for other in distinct):
            distinct.append(face)
    return distinct


def _shared(box: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The part of the smaller box that lies in the other."""
    sides = [min(box[at] + box[at + 2], other[at] + other[at + 2]) - max(box[at], other[at]) for at in (0, 1)]
    return max(sides[0], 0) * max(sides[1], 0) / max(min(box[2] * box[3], other[2] * other[3]), 1e-9)


def _rotation(degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cos, -sin], [sin, cos]])


def _parts(shape: tuple[int, ...]) -> np.ndarray:
    """Nine overlapping parts of a large image, so that a small face is seen at twice the size; none of a small one."""
    height, width = shape[:2]
    if max(height, width) <= _CANVAS:
        return np.zeros((0, 4), int)
    w, h = (width + 1) // 2, (height + 1) // 2
    return np.array(
        [[x, y, w, h] for y in (0, (height - h) // 2, height - h) for x in (0, (width - w) // 2, width - w)]
    )


def alignment(points: np.ndarray, size: int) -> np.ndarray:
    """(2, 3): image pixels -> pixels of a crop of `size`."""
    return similarity(np.asarray(points, dtype=np.float64), TEMPLATE * size - 0.5)


def warp(gray: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """(size, size): the image under a similarity, every crop pixel the mean of all it covers."""
    cv2 = import_cv2()
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))  # crop pixels per image pixel
    fine = min(max(int(np.ceil(1 / scale - 1e-6)), 1), 64)  # so many samples a crop pixel and axis miss no image pixel
    dense = matrix * fine
    dense[:, 2] += (fine - 1) / 2  # pixel centres: 0 of the crop is (fine - 1) / 2 of the finer grid
    large = cv2.warpAffine(gray, dense, (size * fine,) * 2, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return large if fine == 1 else cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)


def resize_square(gray: np.ndarray, size: int, fit: str = "pad") -> np.ndarray:
    """(size, size) by area means, never squashed: the shorter side is padded, or the longer one is cut."""
    cv2 = import_cv2()
    height, width = gray.shape
    if height != width and fit == "pad":
        more = abs(height - width)
        before, after = more // 2, more - more // 2
        edges = (0, 0, before, after) if height > width else (before, after, 0, 0)
        gray = cv2.copyMakeBorder(gray, *edges, cv2.BORDER_REPLICATE)
    elif height != width:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        gray = gray[top : top + side, left : left + side]
    if gray.shape[0] == size:
        return np.ascontiguousarray(gray)
    if gray.shape[0] > size:
        return cv2.resize(gray, (size, size), interpolation=cv2.INTER_AREA)
    larger = cv2.resize(gray.astype(np.float64), (size, size), interpolation=cv2.INTER_LINEAR)  # exactly, then rounded
    return np.rint(larger).astype(np.uint8)


def to_gray(frame: np.ndarray) -> np.ndarray:
    """(H, W) uint8 from gray (H, W[, 1]) or RGB (H, W, 3) uint8."""
    frame = np.asarray(frame)
    if frame.dtype != np.uint8:
        raise ClipError(f"frames are uint8 arrays from 0 to 255, not {frame.dtype}")
    if frame.ndim == 3 and frame.shape[2] == 1:
        frame = frame[:, :, 0]
    elif frame.ndim == 3 and frame.shape[2] == 3:
        cv2 = import_cv2()
        frame = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    if frame.ndim != 2 or 0 in frame.shape:
        raise ClipError(f"a frame has the shape (H, W), (H, W, 1) or (H, W, 3), not {frame.shape}")
    return np.ascontiguousarray(frame)


def crop_clip(
    frames: Iterable[np.ndarray], recipe: FaceRecipe, finder: FaceFinder | None = None
) -> tuple[np.ndarray, Face | None]:
    """(T, size, size) uint8 and the face found (None for face="none"). Frames are taken one at a time."""
    gray = map(to_gray, frames)
    if recipe.face == "none":
        crops = [resize_square(frame, recipe.size, recipe.fit) for frame in gray]
        face = None
    else:
        if finder is None:
            raise ValueError("face='align' needs a FaceFinder; pass finder=FaceFinder()")
        face, gray = first_face(gray, recipe, finder)
        matrix = alignment(face.points, recipe.size)
        crops = [warp(frame, matrix, recipe.size) for frame in gray]
    if not crops:
        raise ClipError("the clip has no frames")
    return np.stack(crops), face


def first_face(
    gray: Iterator[np.ndarray], recipe: FaceRecipe, finder: FaceFinder
) -> tuple[Face, Iterator[np.ndarray]]:
    """The face of the onset frame, or of the nearest frame after it that shows one; and all frames once more."""
    seen: list[np.ndarray] = []
    for frame in gray:
        seen.append(frame)
        face = finder.find(frame, recipe.min_score)
        if face is not None:
            found = Face(box=face.box, points=face.points, score=face.score, frame=len(seen) - 1)
            return found, chain(seen, gray)
        if len(seen) >= recipe.tries:
            break
    raise FaceError(
        f"no face in the first {len(seen)} frames (score at least {recipe.min_score}); "
        "clips that are cropped already need face='none'"
    )
