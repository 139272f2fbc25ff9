"""How the regions of a face move against its head: numbers per frame, relative to an anchor frame.

Each frame is laid onto the anchor by an affine transform, which is the head's motion; what is left in a region is one
Gauss-Newton step of Lucas and Kanade's, with the region's texture as the anchor has it. Motion is measured against the
anchor and not from frame to frame, so that errors do not add up; a new anchor every second keeps the texture fresh.
Lengths are pixels of a 128 x 128 crop.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...data.faces import import_cv2
from ...data.template import TEMPLATE

SIZE = 128  # pixels a crop is wide and high
# Where regions stand in a crop: on the face's right (the image's left), which the left mirrors, and in the middle.
SIDED = {
    "brow outer": (33, 29), "brow inner": (53, 29), "forehead": (48, 15), "lid upper": (43.5, 39),
    "lid lower": (43.5, 49), "cheek": (38, 61), "nose wing": (54, 67), "fold": (41, 77), "mouth corner": (46, 91),
    "jaw": (44, 107),
}  # fmt: skip
MIDDLE = {
    "glabella": (64, 33),
    "nose bridge": (64, 52),
    "upper lip": (64, 85),
    "lower lip": (64, 98),
    "chin": (64, 113),
}
REGIONS = {
    **{f"{name} right": place for name, place in SIDED.items()},
    **{f"{name} left": (SIZE - x, y) for name, (x, y) in SIDED.items()},
    **MIDDLE,
}
SPREAD, RADIUS = 5.5, 11  # of a region's Gaussian window
POSE = ("x", "y", "turn", "size")  # the head's motion: pixels, pixels, and pixels at the rim of the face
MOBILE = {"lid upper": 7, "lid lower": 6, "brow outer": 8, "brow inner": 8, "mouth corner": 12, "upper lip": 10,
          "lower lip": 12, "chin": 12}  # fmt: skip
STEPS = 3  # Gauss-Newton steps for the head
LONGEST = 1.0  # seconds that an anchor serves
N_REGIONS = len(REGIONS)
CHANNELS = 3 * N_REGIONS + len(POSE) + 1  # across, down and tone of every region; the head; the light


def mirrored_channels() -> tuple[np.ndarray, np.ndarray]:
    """(order, sign) that turn a face's channels into those of its mirror image."""
    half = len(SIDED)
    regions = np.r_[half : 2 * half, 0:half, 2 * half : N_REGIONS]
    order = np.r_[regions, regions + N_REGIONS, regions + 2 * N_REGIONS, 3 * N_REGIONS : CHANNELS]
    sign = np.ones(CHANNELS, np.float32)
    sign[:N_REGIONS] = -1  # across
    sign[[3 * N_REGIONS, 3 * N_REGIONS + 2]] = -1  # the head's x and its roll
    return order, sign


@dataclass(frozen=True)
class Layout:
    """What does not depend on a picture: the pixels of every region and their weights, and those of the head."""

    pixels: np.ndarray  # (regions, window) indices of a flat crop
    weights: np.ndarray  # (regions, window), each row adds up to one
    head: np.ndarray  # (size, size): how far a pixel moves with the skull
    basis: np.ndarray  # (6, size * size): an affine field's parameters: x, y and what multiplies them


@lru_cache(maxsize=1)
def layout() -> Layout:
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    pixels, weights = [], []
    offsets = np.arange(-RADIUS, RADIUS + 1)
    for centre_x, centre_y in REGIONS.values():
        columns = np.clip(round(centre_x) + offsets, 0, SIZE - 1)
        rows = np.clip(round(centre_y) + offsets, 0, SIZE - 1)
        window = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets**2) / SPREAD**2).ravel()
        pixels.append((rows[:, None] * SIZE + columns).ravel())
        weights.append(window / window.sum())
    eyes, mouth = TEMPLATE[:2].mean(axis=0) * SIZE, TEMPLATE[3:].mean(axis=0) * SIZE
    middle = (eyes + mouth) / 2
    head = np.exp(-0.5 * (((x - middle[0]) / 34) ** 2 + ((y - middle[1]) / 42) ** 2) ** 2)
    for name, (centre_x, centre_y) in REGIONS.items():
        wide = MOBILE.get(name.removesuffix(" right").removesuffix(" left"))
        if wide:
            head *= 1 - 0.9 * np.exp(-0.5 * ((x - centre_x) ** 2 + (y - centre_y) ** 2) / wide**2)
    across, down = (x - SIZE / 2) / (SIZE / 2), (y - SIZE / 2) / (SIZE / 2)
    basis = np.stack([np.ones_like(across), across, down]).reshape(3, -1)
    return Layout(np.stack(pixels), np.stack(weights).astype(np.float32), head.astype(np.float32), basis)


@dataclass(frozen=True)
class Motion:
    """What one frame says: its channels relative to the anchor, and how well it could be laid onto it."""

    values: np.ndarray  # (CHANNELS,)
    fit: float  # correlation of the two faces, 1 where they are the same
    moved: float  # the head's motion since the anchor, in pixels


class RegionMotion:
    """One face, frame by frame. `anchor` begins anew from a frame; `measure` compares a frame with it."""

    def __init__(self) -> None:
        self.cv2 = import_cv2()
        self.affine = np.eye(2, 3, dtype=np.float64)  # from the crop to the frame

    def anchor(self, crop: np.ndarray, *, keep_pose: bool = False) -> None:
        """Take a crop (128, 128) as the one that motion is measured against.

        keep_pose: the head stands where the last frame was laid, for crops that do not follow it.
        """
        if not keep_pose:
            self.affine = np.eye(2, 3, dtype=np.float64)
        self.start = self.affine.copy()
        smooth, self.light = self._prepared(crop)
        picture, tone = self._laid(smooth), self._laid(self.light)
        place = layout()
        self.tones = self._tones(tone)
        down, across = np.gradient(picture)
        self.picture = picture.ravel()
        flat = np.stack([across.ravel(), down.ravel()])  # (2, pixels)
        # Regions: the step that undoes a difference of pictures, for each window.
        gradients = flat[:, place.pixels]  # (2, regions, window)
        weighted = gradients * place.weights
        normal = np.einsum("arw,brw->rab", weighted, gradients)  # (regions, 2, 2)
        damping = 0.05 * normal.trace(axis1=1, axis2=2).mean() / 2 + 1e-6
        inverse = np.linalg.inv(normal + damping * np.eye(2))
        self.regions = np.einsum("rab,brw->arw", inverse, weighted).astype(np.float32)
        # The head: six numbers of an affine field, and the light as a gain.
        self.steepest = np.concatenate(
            [flat[0] * place.basis, flat[1] * place.basis, self.picture[None]]
        )  # (7, pixels)
        self.head = place.head.ravel()
        hessian = (self.steepest * self.head) @ self.steepest.T
        self.hessian = hessian + 1e-4 * np.diag(np.diag(hessian)) + 1e-9 * np.eye(7)
        self.texture = float((self.head * self.picture**2).sum())

    def measure(self, crop: np.ndarray) -> Motion:
        """The motion of a crop (128, 128) against the anchor."""
        place = layout()
        smooth, light = self._prepared(crop)
        for _ in range(STEPS):
            laid = self._laid(smooth).ravel()
            step = np.linalg.solve(self.hessian, self.steepest @ (self.head * (laid - self.picture)))
            self._compose(step[:6])
            if np.abs(step[:6]).max() < 0.02:
                break
        picture = self._laid(smooth).ravel()
        difference = picture - self.picture
        spread = float((self.head * picture**2).sum())
        fit = float((self.head * picture * self.picture).sum()) / max((spread * self.texture) ** 0.5, 1e-9)
        flow = -np.einsum("arw,rw->ar", self.regions, difference[place.pixels])  # (2, regions)
        tones = self._tones(self._laid(light)) - self.tones
        relative = self._relative()
        pose = self._pose(relative)
        values = np.concatenate([flow[0], flow[1], tones, pose, [np.log(light.mean() / self.light.mean())]])
        corners = relative[:, :2] @ (np.array([[0, SIZE, 0, SIZE], [0, 0, SIZE, SIZE]], float)) + relative[:, 2:]
        moved = np.abs(corners - [[0, SIZE, 0, SIZE], [0, 0, SIZE, SIZE]]).max()
        return Motion(values.astype(np.float32), fit, float(moved))

    def _prepared(self, crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The crop without what changes slowly over the face, and smoothed; and the crop in plain tones."""
        plain = crop.astype(np.float32) + 1
        fine = self.cv2.GaussianBlur(plain, (0, 0), 1.3)
        coarse = self.cv2.blur(fine, (25, 25))
        return fine / coarse - 1, plain

    def _laid(self, picture: np.ndarray) -> np.ndarray:
        flags = self.cv2.INTER_LINEAR | self.cv2.WARP_INVERSE_MAP
        return self.cv2.warpAffine(
            picture, self.affine, (SIZE, SIZE), flags=flags, borderMode=self.cv2.BORDER_REPLICATE
        )

    def _tones(self, laid: np.ndarray) -> np.ndarray:
        place = layout()
        return np.log((place.weights * laid.ravel()[place.pixels]).sum(axis=1) / laid.mean())

    def _compose(self, step: np.ndarray) -> None:
        """The inverse of the step before what is known: the field is of the anchor's coordinates."""
        half = SIZE / 2
        a = np.array([[step[1], step[2]], [step[4], step[5]]]) / half
        shift = np.array([step[0], step[3]]) - a @ [half, half]
        inverse = np.linalg.inv(np.vstack([np.c_[np.eye(2) + a, shift], [0, 0, 1]]))
        self.affine = (np.vstack([self.affine, [0, 0, 1]]) @ inverse)[:2]

    def _relative(self) -> np.ndarray:
        """(2, 3): the head's motion since the anchor."""
        return (np.vstack([self.affine, [0, 0, 1]]) @ np.linalg.inv(np.vstack([self.start, [0, 0, 1]])))[:2]

    def _pose(self, relative: np.ndarray) -> np.ndarray:
        half = SIZE / 2
        shift = relative[:, :2] @ [half, half] + relative[:, 2] - half
        return np.array(
            [*shift, (relative[1, 0] - relative[0, 1]) / 2 * half, (np.trace(relative[:, :2]) / 2 - 1) * half]
        )


__all__ = ["CHANNELS", "REGIONS", "SIZE", "Motion", "RegionMotion", "mirrored_channels"]
