"""From a clip, in whatever form a person has it, to pixel_values: sampled, gray, square, in the model's range.

Needs neither torchvision nor Pillow: arrays and tensors are read as they are, PIL images by their array interface,
video files through PyAV where it is installed.
"""

import importlib
import os
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig
from transformers.image_processing_utils import BatchFeature
from transformers.video_processing_utils import VideoProcessorMixin

from .arguments import check_dense, shown
from .locating import PROCESSOR, check_location, hub_arguments

MAX_FRAMES = 1024  # that a model reads, as in AULLMConfig
MAX_SIDE = 16_384  # pixels of a frame
VALUE_RANGES = {"unit": 1.0, "byte": 255.0}  # the largest pixel value the model is given
LUMA = (9798, 19235, 3735)  # of 32768: ITU-R BT.601 as OpenCV rounds it
CHANNELS_LAST = (1, 3, 4)
CHANNELS_FIRST = (1, 3)
# Formats that are their own container: a playlist would make FFmpeg open whatever else it names.
CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf,nut,ivf,obu,gif,mjpeg,"
              "h264,hevc,m4v,vc1,dv,rm,yuv4mpegpipe")  # fmt: skip
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def evenly_spaced(num_frames: int, last: int) -> np.ndarray:
    """Indices of `num_frames` frames from 0 to `last`, ties to even; a short clip repeats its nearest frames."""
    return np.round(np.linspace(0, last, num_frames)).astype(np.int64)


def sample_last_frame(length: int, num_frames: int, generator: torch.Generator, include_last: bool = False) -> int:
    """Where a training sample ends: anywhere in the clip's later part, so that onset to apex is seen at many speeds.

    As published, the clip's very last frame is never reached unless the clip is short; `include_last` lets it be.
    """
    if length - 1 <= num_frames:
        return length - 1
    high = length if include_last else length - 1
    return int(torch.randint(num_frames, high, (), generator=generator))


def resize_weights(size_in: int, size_out: int) -> np.ndarray:
    """(size_out, size_in): what each output pixel takes of each input pixel; rows sum to 1.

    Smaller: the mean of what the pixel covers, parts of pixels by their share. Larger: between the nearest two.
    """
    pixel = np.arange(size_in)
    if size_in < size_out:
        centre = ((np.arange(size_out) + 0.5) * size_in / size_out - 0.5).clip(0, size_in - 1)
        return (1 - np.abs(centre[:, None] - pixel)).clip(0)
    edges = np.linspace(0, size_in, size_out + 1)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.clip(overlap, 0, None) * (size_out / size_in)


class AULLMVideoProcessor(VideoProcessorMixin):
    r"""Clips -> `pixel_values` (clips, num_frames, 1, size, size), float32.

    A clip is an array or tensor of frames (N, H, W), (N, H, W, C) or (N, C, H, W), a list of frames (arrays (H, W) or
    (H, W, C), or PIL images), or the path of a video file. A batch is a list of clips, or of clips of any length: what
    comes out has no padding. A checkpoint's is loaded by `AutoProcessor.from_pretrained(.., trust_remote_code=True)`;
    `transformers.AutoVideoProcessor`, which gives the same, can be imported only beside torchvision.

    Whole numbers are 0..255, floating point is 0..1 and rounded to those 256 levels;
    anything else is an error.

    Args:
        num_frames: frames the model reads.
        size: height and width of its frames; larger frames are averaged down, frames that are not square are padded
            evenly with their edge, so that nothing is squashed or cut off.
        value_range: "unit" (0..1) or "byte" (0..255, as the published code feeds).
        include_last: whether training samples may reach the clip's last frame.
        face: how faces were cut out of the training data (the data room's recipe as a dictionary), or None for clips
            that came cropped. Kept here so that inference can do the same; this class cuts nothing.

    Example:
        >>> import numpy as np
        >>> from aullm_hf import AULLMVideoProcessor
        >>> processor = AULLMVideoProcessor(num_frames=6, size=64)
        >>> frames = np.random.default_rng(0).integers(0, 256, (40, 80, 64), dtype=np.uint8)
        >>> processor(frames)["pixel_values"].shape
        torch.Size([1, 6, 1, 64, 64])
        >>> processor(["VIDEO.mp4", frames])["pixel_values"].shape
        torch.Size([2, 6, 1, 64, 64])
    """

    model_input_names = ["pixel_values"]

    def __init__(
        self,
        num_frames: int = 6,
        size: int = 64,
        value_range: str = "unit",
        include_last: bool = False,
        face: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        for name, value in (("num_frames", num_frames), ("size", size)):
            _check_count(f"AULLMVideoProcessor.{name}", value)
        if not isinstance(include_last, bool):
            raise ValueError(f"AULLMVideoProcessor.include_last is {shown(include_last)}; allowed: True or False.")
        if not (face is None or isinstance(face, dict)):
            raise ValueError(f"AULLMVideoProcessor.face is {shown(face)}; allowed: a recipe as a dictionary, or None.")
        own = ("num_frames", "size", "value_range", "include_last", "face")
        for name in kwargs:  # transformers passes names of its own; one that is nearly ours is a slip
            if near := get_close_matches(name, own, n=1, cutoff=0.8):
                raise ValueError(f"AULLMVideoProcessor has no setting '{name}'. Did you mean '{near[0]}'?")
        if not isinstance(value_range, str) or value_range not in VALUE_RANGES:
            allowed = ", ".join(map(repr, VALUE_RANGES))
            raise ValueError(f"AULLMVideoProcessor.value_range is {shown(value_range)}; allowed: {allowed}.")
        kwargs.pop("video_processor_type", None)
        kwargs.pop("processor_class", None)
        super().__init__(**kwargs)
        self.num_frames = num_frames
        self.size = size
        self.value_range = value_range
        self.include_last = include_last
        self.face = face

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """The processor of a checkpoint's folder or of a repository on the Hub."""
        path = pretrained_model_name_or_path
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                f"pretrained_model_name_or_path is {shown(path)}; allowed: a checkpoint's folder or Hub name."
            )
        check_location("pretrained_model_name_or_path", path, file=PROCESSOR, **hub_arguments(kwargs))
        return super().from_pretrained(path, *args, **kwargs)

    @classmethod
    def for_config(cls, config: Any, **settings: Any) -> "AULLMVideoProcessor":
        """The processor that fits a model's configuration."""
        if not isinstance(config, PreTrainedConfig):
            raise TypeError(f"config is {shown(config)}; allowed: an AULLMConfig.")
        return cls(num_frames=config.num_frames, size=config.image_size, **settings)

    # ---------------------------------------------------------------- public

    def __call__(self, videos: Any, **kwargs: Any) -> BatchFeature:
        return self.preprocess(videos, **kwargs)

    def preprocess(
        self,
        videos: Any,
        *,
        train: bool = False,
        generator: torch.Generator | None = None,
        return_tensors: str | None = "pt",
        **kwargs: Any,
    ) -> BatchFeature:
        """One clip or a list of clips -> BatchFeature with `pixel_values`.

        Args:
            videos: a clip or a list of clips; the class says what a clip is.
            train: whether each sample's end is drawn; otherwise the frames are spread over the whole clip.
            generator: what it is drawn from; by default torch's own.
            return_tensors: "pt" or "np".
            **kwargs: num_frames and do_sample_frames, which transformers' own video pipeline passes.
        """
        if not (return_tensors is None or (isinstance(return_tensors, str) and return_tensors in ("pt", "np"))):
            raise ValueError(f"return_tensors is {shown(return_tensors)}; allowed: 'pt', 'np' or None.")
        if not isinstance(train, bool):
            raise ValueError(f"train is {shown(train)}; allowed: True or False.")
        if not (generator is None or isinstance(generator, torch.Generator)):
            raise TypeError(f"generator is {shown(generator)}; allowed: a torch.Generator, or None.")
        num_frames = kwargs.pop("num_frames", None)
        num_frames = self.num_frames if num_frames is None else num_frames
        _check_count("num_frames", num_frames)
        kwargs.pop("do_sample_frames", None)
        if kwargs:
            raise TypeError(
                f"AULLMVideoProcessor does not know {sorted(kwargs)}; it knows train, generator, num_frames."
            )
        clips = [videos] if is_one_clip(videos) else list(videos)
        if not clips:
            raise ValueError("AULLMVideoProcessor got an empty list; expected a clip or a list of clips.")
        values = torch.stack([self._clip(clip, i, num_frames, train, generator) for i, clip in enumerate(clips)])
        return BatchFeature({"pixel_values": values.numpy() if return_tensors == "np" else values})

    def normalize_frames(self, frames: torch.Tensor) -> torch.Tensor:
        """uint8 frames (.., H, W) of the right size -> float32 in the model's range."""
        if not isinstance(frames, torch.Tensor):
            raise TypeError(f"frames is {shown(frames)}; allowed: a tensor of pixels 0..255.")
        return frames / (255.0 / VALUE_RANGES[self.value_range])  # to float32 and divided in one pass

    # ---------------------------------------------------------------- one clip

    def _clip(
        self, clip: Any, index: int, num_frames: int, train: bool, generator: torch.Generator | None
    ) -> torch.Tensor:
        frames = read_frames(clip, f"clip {index}")  # a list or array of N frames
        last = len(frames) - 1
        if train:
            last = sample_last_frame(len(frames), num_frames, generator, self.include_last)
        chosen = [to_gray(frames[i], f"clip {index}, frame {i}") for i in evenly_spaced(num_frames, last)]
        if len({frame.shape for frame in chosen}) > 1:
            raise ValueError(f"clip {index} has frames of several sizes: {sorted({f.shape for f in chosen})}.")
        gray = square(np.stack(chosen), self.size)  # (T, size, size) uint8
        return self.normalize_frames(torch.from_numpy(gray))[:, None]  # (T, 1, size, size)

    def to_dict(self) -> dict[str, Any]:
        fields = ("num_frames", "size", "value_range", "include_last", "face")
        kept = {name: getattr(self, name) for name in ("auto_map", "_auto_class") if getattr(self, name, None)}
        kept.pop("_auto_class", None)
        return {**{name: getattr(self, name) for name in fields}, **kept, "video_processor_type": type(self).__name__}


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_FRAMES:
        raise ValueError(f"{name} is {shown(value)}; allowed: a whole number from 1 to {MAX_FRAMES}.")


# -------------------------------------------------------------------- reading


def _is_image(value: Any) -> bool:
    """A PIL image, or anything else that gives itself as an array and has a mode."""
    return hasattr(value, "mode") and hasattr(value, "__array_interface__")


def _is_frame(value: Any) -> bool:
    if _is_image(value):
        return True
    shape = getattr(value, "shape", None)
    return shape is not None and (len(shape) == 2 or (len(shape) == 3 and shape[-1] in CHANNELS_LAST))


def is_one_clip(videos: Any) -> bool:
    if isinstance(videos, (str, os.PathLike)):
        return True
    if hasattr(videos, "shape"):
        return len(videos.shape) < 5
    if not isinstance(videos, Sequence):
        raise TypeError(
            f"AULLMVideoProcessor got {type(videos).__name__}; expected frames as an array, a tensor or a list, a "
            "path of a video, or a list of those."
        )
    shapes = [tuple(getattr(frame, "shape", ())) for frame in videos]
    if len(shapes) > 1 and all(len(s) == 3 and s[0] in CHANNELS_FIRST and s[-1] not in CHANNELS_LAST for s in shapes):
        raise ValueError(
            f"AULLMVideoProcessor got a list of {len(shapes)} arrays of shape {shapes[0]}: frames with their channel "
            "first, or clips of so many frames? Stack frames into one array (N, C, H, W); give clips as (N, H, W, 1)."
        )
    return len(videos) > 0 and all(_is_frame(frame) for frame in videos)


def read_frames(clip: Any, name: str) -> Any:
    """The clip's frames as a sequence of (H, W) or (H, W, C) arrays, checked."""
    if isinstance(clip, (str, os.PathLike)):
        return read_video(os.fspath(clip))
    if not hasattr(clip, "shape"):
        frames = list(clip) if isinstance(clip, Sequence) else None
        if not frames or not all(_is_frame(frame) for frame in frames):
            raise ValueError(
                f"{name} is {type(clip).__name__}; expected at least one frame, each (H, W) or (H, W, C)."
            )
        return frames
    array = _array(clip)
    if array.ndim == 2:
        array = array[None]
    if array.ndim == 4 and array.shape[-1] not in CHANNELS_LAST and array.shape[1] in CHANNELS_FIRST:
        array = np.moveaxis(array, 1, -1)
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[-1] not in CHANNELS_LAST) or 0 in array.shape:
        raise ValueError(
            f"{name} has shape {tuple(array.shape)}; expected frames (N, H, W), (N, H, W, C) or (N, C, H, W), N >= 1."
        )
    return array


def read_video(path: str) -> list[np.ndarray]:
    """Every frame of a video file, (H, W, 3) uint8."""
    if path.lower().endswith(PICTURES):
        raise ValueError(f"{path!r} is a picture, not a video. Read a clip's frames into arrays or PIL images first.")
    try:
        av = importlib.import_module("av")
    except ImportError as error:
        raise ImportError(f'Reading the video {path!r} needs PyAV: pip install "aullm-hf[video]" (or av).') from error
    try:
        reading = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
        whole = os.path.abspath(path)  # `12:30.mp4` by itself would be an address of the protocol `12`
        with av.open(whole, metadata_errors="replace", options=reading) as container:
            if container.streams.video and container.streams.video[0].codec_context is None:
                raise ValueError(f"{shown(path)} is a video of a codec that is not known here.")
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise ValueError(f"{shown(path)} could not be read as a video ({shown(str(error))}).") from error
    if not frames:
        raise ValueError(f"{path!r} holds no video frame.")
    return frames


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        check_dense("a clip", value, "frames")
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return np.asarray(value)


def to_gray(frame: Any, name: str) -> np.ndarray:
    """One frame -> (H, W), uint8."""
    if _is_image(frame) and frame.mode not in ("L", "RGB", "RGBA"):  # palettes, inks and other colour spaces
        frame = frame.convert("L" if frame.mode in ("1", "LA") else "RGB")
    array = _array(frame)
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[-1] not in CHANNELS_LAST):
        raise ValueError(f"{name} has shape {tuple(array.shape)}; expected (H, W) or (H, W, C) with C of 1, 3 or 4.")
    if max(array.shape[:2]) > MAX_SIDE:
        raise ValueError(
            f"{name} has {array.shape[1]:,} x {array.shape[0]:,} pixels; allowed: at most {MAX_SIDE:,} a "
            "side. Crop the face first."
        )
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds values that are not finite (NaN or infinity).")
        if array.min() < 0 or array.max() > 1:
            raise ValueError(
                f"{name} is floating point from {array.min():g} to {array.max():g}; expected 0..1. Divide by 255, or "
                "pass whole numbers."
            )
        array = array * 255.0
    elif array.dtype == bool or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} has dtype {array.dtype}; expected whole numbers 0..255 or floating point 0..1.")
    elif array.min() < 0 or array.max() > 255:
        raise ValueError(f"{name} holds whole numbers from {array.min()} to {array.max()}; expected 0..255.")
    if array.ndim == 3:
        array = array[..., 0] if array.shape[-1] == 1 else _luma(array[..., :3])
    return array if array.dtype == np.uint8 else np.round(array).astype(np.uint8)


def _luma(colours: np.ndarray) -> np.ndarray:
    if np.issubdtype(colours.dtype, np.floating):
        return colours @ np.array(LUMA) / 32768
    return (colours.astype(np.int64) @ np.array(LUMA) + 16384) >> 15


def square(frames: np.ndarray, size: int) -> np.ndarray:
    """(T, H, W) uint8 -> (T, size, size): padded to a square with the edge's pixels, then resized.

    The recipe of the training data, which OpenCV makes (INTER_AREA, or INTER_LINEAR to enlarge), but for ties.
    """
    height, width = frames.shape[1:]
    side = max(height, width)
    if height != width:
        above, left = (side - height) // 2, (side - width) // 2
        frames = np.pad(frames, ((0, 0), (above, side - height - above), (left, side - width - left)), mode="edge")
    if side == size:
        return frames
    step, rest = divmod(side, size)
    if rest == 0:  # whole blocks of pixels, whose sums OpenCV rounds in its own ways
        sums = frames.reshape(len(frames), size, step, size, step).sum(axis=(2, 4), dtype=np.int64)
        means = (sums + 2) >> 2 if step == 2 else np.rint(sums.astype(np.float32) * np.float32(1 / step**2))
        return means.astype(np.uint8)
    weights = resize_weights(side, size)
    return np.rint(weights @ frames.astype(np.float64) @ weights.T).clip(0, 255).astype(np.uint8)


__all__ = [
    "AULLMVideoProcessor",
    "evenly_spaced",
    "read_frames",
    "resize_weights",
    "sample_last_frame",
    "square",
    "to_gray",
]
