"""What light, a camera and a codec do to the frames of a wild clip, whatever the face does."""

import numpy as np

from .faces import smooth_noise


def degrade(
    rng: np.random.Generator, noise: np.random.Generator, frames: np.ndarray, times, camera: float, moving: bool
) -> np.ndarray:
    """(T, H, W) grey levels -> the same as recorded. `noise`: the sensor's own stream."""
    frames = _lit(rng, frames, times, moving)
    frames = _toned(rng, frames)
    if rng.random() < 0.6:
        frames = _blurred(frames, np.exp(rng.uniform(np.log(0.3), np.log(1.3))))
    grain = np.exp(rng.uniform(np.log(0.3), np.log(4.5))) * (camera / 60) ** 0.15
    rough = noise.standard_normal(frames.shape, dtype=np.float32)
    if rng.random() < 0.4:  # a picture that was enlarged has coarser noise
        rough = 1.8 * _blurred(rough, 0.7)
    frames = np.clip(frames + np.float32(grain) * rough, 0, 255)
    if rng.random() < 0.5:
        frames = _compressed(rng, frames)
    if rng.random() < 0.12:
        _cut(rng, frames)
    return frames


def _lit(rng: np.random.Generator, frames: np.ndarray, times: np.ndarray, moving: bool) -> np.ndarray:
    """Light that falls unevenly, and, where the clip has motion, changes."""
    size = frames.shape[-1]
    at = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = at[None, :], at[:, None]
    still = 1 + rng.normal(0, 0.12) * x + rng.normal(0, 0.08) * y
    still = still * (1 + rng.uniform(0, 0.15) * smooth_noise(rng, 64 * x, 64 * y, rng.uniform(14, 40), reach=128))
    if not moving or rng.random() < 0.4:
        return frames * still.astype(np.float32)
    strength = np.exp(rng.uniform(np.log(0.003), np.log(0.25)))
    gain, slope = (rng.normal(0, strength, 2) for _ in range(2))
    course = np.sin(2 * np.pi * rng.uniform(0.2, 4) * times + (phase := rng.uniform(0, 2 * np.pi))) - np.sin(phase)
    course = course.astype(np.float32)[:, None, None]
    return frames * (still * (1 + course * (gain[0] + slope[0] * x + slope[1] * y)).clip(0.2, 2)).astype(np.float32)


def _toned(rng: np.random.Generator, frames: np.ndarray) -> np.ndarray:
    """Exposure, contrast and the camera's curve."""
    gamma, gain = np.exp(rng.normal(0, 0.2)), np.exp(rng.normal(0.05, 0.2))
    frames = 255 * np.clip(frames * np.float32(gain / 255), 0, 1.2) ** np.float32(gamma)
    black = rng.uniform(0, 35) * (rng.random() < 0.5)
    return np.float32(black) + frames * np.float32(1 - black / 255)


def _blurred(frames: np.ndarray, spread: float) -> np.ndarray:
    """A Gaussian over both axes, the edges repeated."""
    reach = int(2.5 * spread) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / spread) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (1, 2):
        padded = np.pad(frames, [(reach, reach) if a == axis else (0, 0) for a in range(3)], mode="edge")
        length = frames.shape[axis]
        cuts = ([slice(None)] * axis + [slice(k, k + length)] for k in range(len(kernel)))
        frames = sum((weight * padded[tuple(cut)] for weight, cut in zip(kernel, cuts, strict=True)),
                     np.zeros_like(frames))  # fmt: skip
    return frames


def _compressed(rng: np.random.Generator, frames: np.ndarray) -> np.ndarray:
    """Blocks whose cosine coefficients are rounded, and that stay as they were where little changes, as codecs do."""
    count, height, width = frames.shape
    side = int(rng.choice([4, 8]))
    step = np.exp(rng.uniform(np.log(2), np.log(22)))
    lazy = rng.uniform(0, 0.5) * step * (rng.random() < 0.7)
    k, n = np.arange(side)[:, None], np.arange(side)[None, :]
    cosine = np.sqrt(2 / side) * np.cos(np.pi * (n + 0.5) * k / side) * np.where(k == 0, np.sqrt(0.5), 1)
    cosine = cosine.astype(np.float32)
    coarse = np.float32(step) * (1 + 0.5 * (k + n)).astype(np.float32)  # fine detail is rounded more
    blocks = frames.reshape(count, height // side, side, width // side, side).swapaxes(2, 3)
    # Sums in a fixed order: a product of matrices has another last bit on another number of threads.
    blocks = np.einsum("ij,tabjk->tabik", cosine, blocks)
    blocks = np.einsum("tabjk,ik->tabji", blocks, cosine)
    for frame in range(count):
        rounded = np.rint(blocks[frame] / coarse) * coarse
        if frame and lazy:
            change = np.abs(blocks[frame] - blocks[frame - 1]).max(axis=(2, 3), keepdims=True)
            rounded = np.where(change < lazy, blocks[frame - 1], rounded)
        blocks[frame] = rounded
    blocks = np.einsum("ji,tabjk->tabik", cosine, blocks)
    blocks = np.einsum("tabjk,ki->tabji", blocks, cosine)
    return np.clip(blocks.swapaxes(2, 3).reshape(count, height, width), 0, 255)


def _cut(rng: np.random.Generator, frames: np.ndarray) -> None:
    """The picture's own edge: beyond it the last row or column is repeated."""
    size = frames.shape[-1]
    edge = int(rng.integers(1, size // 6 + 1))
    side = rng.integers(4)
    if side == 0:
        frames[:, :edge] = frames[:, edge : edge + 1]
    elif side == 1:
        frames[:, -edge:] = frames[:, -edge - 1 : -edge]
    elif side == 2:
        frames[:, :, :edge] = frames[:, :, edge : edge + 1]
    else:
        frames[:, :, -edge:] = frames[:, :, -edge - 1 : -edge]
