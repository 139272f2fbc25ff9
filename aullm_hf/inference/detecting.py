"""A loaded model with its processor: clips in, rows out."""

import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from ..arguments import check_choice, check_number, check_path, check_whole, shown
from ..data.threads import available_cores
from ..model import AULLMForAUDetection, AULLMVideoProcessor
from ..packaged import PACKAGED_NAME, packaged_checkpoint
from .checkpoints import commit_of, digest_of, opening
from .onnx_models import OnnxModel, is_onnx
from .reading.clip_source import ClipSource
from .reading.clips import Reader
from .reading.crop_settings import FACE_MODES, FACES, choose_crop_settings
from .reading.cropping import ReadClip
from .reading.prefetching import prefetch
from .reading.sources import expand_sources
from .reading.windows import check_window
from .results import join_tables, table_of
from .training_note import training_note


class AUDetector:
    """A loaded model with its processor: clips in, one row per clip (or window, or face) out. Threads may share one.

    Args:
        model: a checkpoint's folder, a repository on the Hub, a file of `export_onnx`, or a loaded model (then
            also its `processor`); None: the checkpoint that comes with the package.
        processor: of a loaded model; None: the one that fits its configuration.
        revision: branch, tag or commit of a repository.
        device: "cpu", "cuda", ..; None: the GPU where there is one.
        dtype: of the frozen LLM: "float32", "bfloat16" or "float16"; None: as stored.
        face: how faces are cut out. None: as the model was trained; "align": located once per clip, as in training;
            "follow": the crop moves with the head, smoothly, for long recordings; "none": the clips are cropped.
        faces: "largest", or "all" of them, each with a number that it keeps.
        window: seconds; None: what lasts over 5 s is read in windows of 0.5 s; 0: every clip whole.
        stride: seconds from one window to the next; None: half a window.
        fps: the true frame rate of sources that do not say theirs, or say it wrongly.
        face_model: YuNet's .onnx file, where it is not the Hub's.
        batch_size: clips that the model reads at once.
        workers: threads that read sources while the model works; None: all cores but one, at most 8.
        **loading: further arguments of `from_pretrained`.

    Example:
        >>> from aullm_hf.inference import AUDetector
        >>> detector = AUDetector("CHECKPOINT_FOLDER", window=0.2)
        >>> for rows in detector.detect(["VIDEO.mp4", "TALKS/*.mp4"]):
        ...     print(rows["source"].value_counts().to_dict())
        {'VIDEO.mp4': 4, 'TALKS/talk.mp4': 4}
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel | None = None,
        *,
        processor: AULLMVideoProcessor | None = None,
        revision: str | None = None,
        device: str | torch.device | None = None,
        dtype: str | None = None,
        face: str | None = None,
        faces: str = "largest",
        window: float | None = None,
        stride: float | None = None,
        fps: float | None = None,
        face_model: str | Path | None = None,
        batch_size: int = 32,
        workers: int | None = None,
        **loading: Any,
    ):
        check_choice("face", face, (None, *FACE_MODES))
        check_choice("faces", faces, FACES)
        check_window(window, stride)
        if fps is not None:
            check_number("fps", fps, 0, 100_000)
        check_whole("batch_size", batch_size, 1, 1 << 20)
        check_whole("workers", 1 if workers is None else workers, 1, 1 << 10)
        if face_model is not None:
            check_path("face_model", face_model, "the file of YuNet's weights, or None")
        if not (processor is None or hasattr(processor, "num_frames")):
            raise TypeError(f"processor={shown(processor)} is not allowed; give an AULLMVideoProcessor, or None")
        self.device, self.dtype = _device(device), None if dtype is None else str(dtype)
        if isinstance(model, PreTrainedModel):
            self.model, self.name = model, str(model.name_or_path or type(model).__name__)
            self.place = self.name
            self.processor = processor or AULLMVideoProcessor.for_config(model.config)
            self.revision = getattr(model.config, "_commit_hash", None) or revision
        elif is_onnx(model):
            if dtype or revision or loading or (device and self.device.type != "cpu"):
                raise ValueError(
                    f"model is {str(model)!r}: an ONNX file is run on the CPU as it is. Leave out device, dtype, "
                    "revision and arguments of from_pretrained, or give the checkpoint."
                )
            self.model, self.revision, self.device = OnnxModel(model), None, torch.device("cpu")
            self.name = self.place = str(model)
            self.processor = processor or self.model.processor
        else:
            self.name = PACKAGED_NAME if model is None else str(model)
            if model is None:
                model = packaged_checkpoint()
            check_path("model", model, "a checkpoint's folder, a repository on the Hub, or a loaded model, or None")
            self.place = str(model)
            with opening(model, revision):
                self.model = AULLMForAUDetection.from_pretrained(model, revision=revision, dtype=dtype, **loading)
                self.processor = processor or AULLMVideoProcessor.from_pretrained(model, revision=revision)
            self.revision = commit_of(self.place, revision)
        if isinstance(self.model, PreTrainedModel):
            self.model.to(self.device).eval()
        self.labels: list[str] = self.model.config.labels
        self.trained_on: str | None = getattr(self.model.config, "training_data", None)
        self.gives_intensity: bool = getattr(self.model.config, "intensity", False)
        self.thresholds = {label: self.model.config.thresholds[label] for label in self.labels}
        self.batch_size, self.fps, self.face_model = batch_size, fps, face_model
        self.workers = workers or max(min(available_cores() - 1, 8), 1)  # one core is left to the model
        crop, self.warning = choose_crop_settings(self.processor, face, faces, face_model)
        self.reader = Reader(crop, window, stride)
        packaged = "no model is named: the one that comes with the package is used" * (self.name == PACKAGED_NAME)
        for note in filter(None, (packaged, training_note(self.trained_on), self.warning)):
            warnings.warn(note, stacklevel=2)
        self._model_lock = threading.Lock()

    @property
    def settings(self) -> dict[str, Any]:
        """What rows depend on beside the clips: results made with other settings are not continued."""
        crop = self.reader.crop
        return {
            "model": self.name,
            "revision": self.revision,
            "weights": digest_of(self.place),
            "dtype": self.dtype,
            "face": crop.recipe.to_dict(),
            "detector": crop.finder.digest if crop.finder else None,
            "follow": crop.follow,
            "faces": "all" if crop.all_faces else "largest",
            "window": self.reader.window,
            "stride": self.reader.stride,
            **({"intensity": True} if self.gives_intensity else {}),
        }

    def check_explains(self) -> None:
        """Refuse a model that predicts and cannot say why."""
        if isinstance(self.model, OnnxModel):
            raise ValueError(
                f"model is {self.name!r}: an ONNX file predicts, but explains nothing; give the checkpoint that it "
                "was exported from."
            )

    # ---------------------------------------------------------------- public

    def read(self, source: Any) -> Iterator[ReadClip]:
        """One source (a path, images, an array) -> its clips, windows and faces, failures included."""
        for each in expand_sources(source, self.fps):
            if not each.ignored:
                yield from self.reader.read(each)

    def probabilities(self, clips: Sequence[ReadClip]) -> np.ndarray:
        """(clips, n_AU) float64; NaN where a clip has a reason."""
        return self._predict(clips)[0]

    def _predict(self, clips: Sequence[ReadClip]) -> tuple[np.ndarray, np.ndarray | None]:
        """Probabilities, and intensities where the model has that output."""
        out = np.full((len(clips), len(self.labels)), np.nan)
        levels = np.full_like(out, np.nan) if self.gives_intensity else None
        good = [at for at, clip in enumerate(clips) if not clip.reason]
        for first in range(0, len(good), self.batch_size):
            batch = good[first : first + self.batch_size]
            frames = [clips[at].frames[..., None] for at in batch]  # (N, H, W, 1): three frames are no three colours
            pixel_values = self.processor(frames)["pixel_values"]
            with self._model_lock, torch.inference_mode():
                output = self.model(pixel_values.to(self.device))
                out[batch] = self.model.probabilities(output.logits).double().cpu().numpy()
                if levels is not None:
                    levels[batch] = output.intensity.double().cpu().numpy()
        return out, levels

    def rows(self, clips: Sequence[ReadClip]) -> pd.DataFrame:
        """One row per clip, in order."""
        about = {"warning": self.warning, "trained_on": self.trained_on, "model": self.name, "revision": self.revision}
        return table_of(clips, *self._predict(clips), thresholds=self.thresholds, **about)

    def detect(self, sources: Any) -> Iterator[pd.DataFrame]:
        """Rows of all that is named, in batches, while the next are being read.

        Args:
            sources: a path, a pattern, a table of paths, an array, frames, or a list of those, as for `detect_aus`.
        """
        named = (source for source in expand_sources(sources, self.fps) if not source.ignored)
        yield from (rows for rows, _ in self._batches(named) if len(rows))

    def detect_each(
        self, sources: Iterator[ClipSource] | Sequence[ClipSource]
    ) -> Iterator[tuple[ClipSource, pd.DataFrame]]:
        """Source after source, each with all of its rows."""
        parts: list[pd.DataFrame] = []
        for rows, ends in self._batches(sources):
            begin = 0
            for source, end in ends:
                parts += [rows.iloc[begin:end]] if end > begin else []
                yield source, pd.concat(parts, ignore_index=True)
                parts, begin = [], end
            parts += [rows.iloc[begin:]] if len(rows) > begin else []

    def _batches(
        self, sources: Iterator[ClipSource] | Sequence[ClipSource]
    ) -> Iterator[tuple[pd.DataFrame, list[tuple[ClipSource, int]]]]:
        """(rows, [(a source that is finished, how many of these rows are its and those before it)])."""
        clips: list[ReadClip] = []
        ends: list[tuple[ClipSource, int]] = []
        for source, clip, ended in prefetch(sources, self.reader.read, self.workers, 2 * self.batch_size):
            if ended:
                ends.append((source, len(clips)))
            else:
                clips.append(clip)
            if len(clips) == self.batch_size and not ended:
                yield self.rows(clips), ends
                clips, ends = [], []
        if clips or ends:
            yield self.rows(clips), ends


def detect_aus(paths: Any, model: str | Path | PreTrainedModel | None = None, **options: Any) -> pd.DataFrame:
    """Clips -> a table with one row per clip: probability, activity and threshold of each AU.

    Args:
        paths: a video, a folder (of frames, videos or frame folders), a pattern, a table of paths, an array of frames,
            or a list of those.
        model: a checkpoint's folder, a repository on the Hub, or a loaded model; None: the checkpoint that comes with
            the package.
        **options: those of `AUDetector`.

    Example:
        >>> from aullm_hf import detect_aus
        >>> table = detect_aus("TALKS/*.mp4", "CHECKPOINT_FOLDER", window=0.2)
        >>> table[["source", "start", "end", "p_AU12"]].round(2)  # doctest: +ELLIPSIS
                   source  start   end  p_AU12
        0  TALKS/talk.mp4   0.00  0.16    0...
        1  TALKS/talk.mp4   0.12  0.28    0...
        2  TALKS/talk.mp4   0.20  0.36    0...
        3  TALKS/talk.mp4   0.28  0.44    0...
    """
    detector = AUDetector(model, **options)
    tables = list(detector.detect(paths))
    return join_tables(tables) if tables else detector.rows([])


def best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _device(asked: str | torch.device | None) -> torch.device:
    """The device, checked: PyTorch itself complains only when the model is moved, or when numbers come back."""
    if not isinstance(asked, str | torch.device | None):
        raise TypeError(f"device={shown(asked)} is not allowed; give cpu, cuda, cuda:1 or mps, or leave it out")
    try:
        device = torch.device(asked or best_device())
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:  # no such word, not built for it, no such card
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device={shown(str(asked))} cannot be used here ({shown(reason)}); give cpu, cuda, cuda:1 or mps, or "
            "leave it out"
        ) from error
    return device


__all__ = ["AUDetector", "detect_aus"]
