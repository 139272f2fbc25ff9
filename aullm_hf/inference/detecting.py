"""A loaded model with its processor: clips in, rows out."""

import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from ..arguments import check_choice, check_number, check_path, check_whole, shown
from ..data.faces import FaceFinder, FaceRecipe
from ..data.threads import available_cores
from ..model import AULLMForAUDetection, AULLMVideoProcessor
from .checkpoints import commit_of, opening
from .reading.clips import ReadClip, Reader
from .reading.cropping import Look
from .reading.prefetching import read_ahead
from .reading.sources import Source, sources_of
from .reading.windows import check_window
from .results import table_of

FACE_MODES = ("align", "follow", "none")
FACES = ("largest", "all")


class AUDetector:
    """A loaded model with its processor: clips in, rows out. Many threads may share one.

    model: a checkpoint's folder or Hub name (`revision`, `dtype` and further arguments go to `from_pretrained`), or a
        loaded model, with its `processor`.
    face: how faces are cut out. None: as the checkpoint's processor says; "align": once a clip, as in training;
        "follow": the crop moves with the face, smoothly, for recordings in which the head does; "none": the clips are
        cropped already. `face_model` is YuNet's file, where it is not the Hub's.
    faces: "largest", or "all" of them, numbered by who is who.
    window, stride: seconds; None cuts what lasts over 5 s into windows of 0.5 s, half of that apart; 0 cuts nothing.
    fps: the true frame rate of sources that do not say theirs, or say it wrongly.
    workers: threads that read ahead of the model.
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
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
        self.device = _device(device)
        if isinstance(model, PreTrainedModel):
            self.model, self.name = model, str(model.name_or_path or type(model).__name__)
            self.processor = processor or AULLMVideoProcessor.for_config(model.config)
            self.revision = getattr(model.config, "_commit_hash", None) or revision
        else:
            check_path("model", model, "a checkpoint's folder, a repository on the Hub, or a loaded model")
            self.name = str(model)
            with opening(model, revision):
                self.model = AULLMForAUDetection.from_pretrained(model, revision=revision, dtype=dtype, **loading)
                self.processor = processor or AULLMVideoProcessor.from_pretrained(model, revision=revision)
            self.revision = commit_of(self.name, revision)
        self.model.to(self.device).eval()
        self.labels: list[str] = self.model.config.labels
        self.thresholds = {label: self.model.config.thresholds[label] for label in self.labels}
        self.batch_size, self.fps = batch_size, fps
        self.workers = workers or max(min(available_cores() - 1, 8), 1)  # one core is left to the model
        self.reader, self.face_warning = self._reader(face, faces, window, stride, face_model)
        self._one_at_a_time = threading.Lock()

    def _reader(
        self, face: str | None, faces: str, window: float | None, stride: float | None, face_model: str | Path | None
    ) -> tuple[Reader, str]:
        """How clips are read, and in what that differs from how the training clips were."""
        trained = FaceRecipe.from_dict(self.processor.face) if self.processor.face else None
        mode = face or (trained.face if trained else "none")
        recipe = replace(trained or FaceRecipe(size=self.processor.size), face="none" if mode == "none" else "align")
        finder = FaceFinder(face_model) if mode != "none" else None
        warning = ""
        if trained and mode == "none" and trained.face == "align":
            warning = "the model was trained on aligned faces, but clips were taken as they are (face='none')"
        elif mode != "none" and (trained is None or trained.face == "none"):
            warning = f"the model was trained on clips that came cropped, but faces were cut out here (face='{mode}')"
        elif mode == "follow":
            warning = "the model was trained with one transform a clip, but the crop followed the face (face='follow')"
        if finder is not None and trained and trained.detector and trained.detector != finder.digest:
            other = (
                f"faces were found by another detector ({finder.digest[:12]}) than in training "
                f"({trained.detector[:12]}); face_model= takes that one"
            )
            warning = f"{warning}; {other}" if warning else other
        if warning:
            warnings.warn(warning, stacklevel=3)
        look = Look(self.processor.num_frames, recipe, finder, everyone=faces == "all", follow=mode == "follow")
        return Reader(look, window, stride, warning), warning

    # ---------------------------------------------------------------- public

    def read(self, source: Any, *, keep_onset: bool = False) -> Iterator[ReadClip]:
        """One source (a path, images, an array) -> its clips, windows and faces, failures included."""
        for each in [source] if isinstance(source, Source) else sources_of(source, self.fps):
            yield from self.reader.read(each, keep_onset=keep_onset)

    def probabilities(self, clips: Sequence[ReadClip]) -> np.ndarray:
        """(clips, n_AU) float64; NaN where a clip has a reason."""
        out = np.full((len(clips), len(self.labels)), np.nan)
        good = [at for at, clip in enumerate(clips) if not clip.reason]
        for first in range(0, len(good), self.batch_size):
            batch = good[first : first + self.batch_size]
            pixel_values = self.processor([clips[at].frames for at in batch])["pixel_values"]
            with self._one_at_a_time, torch.inference_mode():
                logits = self.model(pixel_values.to(self.device)).logits
                out[batch] = self.model.probabilities(logits).double().cpu().numpy()
        return out

    def rows(self, clips: Sequence[ReadClip]) -> pd.DataFrame:
        """One row a clip, in order."""
        return table_of(clips, self.probabilities(clips), self.thresholds, self.name, self.revision)

    def detect(self, sources: Any) -> Iterator[pd.DataFrame]:
        """Rows of all that is named, in batches, while the next are being read."""
        yield from (rows for rows, _ in self._batches(sources_of(sources, self.fps)) if len(rows))

    def detect_each(self, sources: Iterator[Source] | Sequence[Source]) -> Iterator[tuple[Source, pd.DataFrame]]:
        """Source after source with all of its rows; what belongs together comes together."""
        parts: list[pd.DataFrame] = []
        for rows, ends in self._batches(sources):
            begin = 0
            for source, end in ends:
                parts += [rows.iloc[begin:end]] if end > begin else []
                yield source, pd.concat(parts, ignore_index=True)
                parts, begin = [], end
            parts += [rows.iloc[begin:]] if len(rows) > begin else []

    def _batches(
        self, sources: Iterator[Source] | Sequence[Source]
    ) -> Iterator[tuple[pd.DataFrame, list[tuple[Source, int]]]]:
        """(rows, [(a source that is finished, how many of these rows are its and those before it)])."""
        clips: list[ReadClip] = []
        ends: list[tuple[Source, int]] = []
        for source, clip, ended in read_ahead(sources, self.reader.read, self.workers, 2 * self.batch_size):
            if ended:
                ends.append((source, len(clips)))
            else:
                clips.append(clip)
            if len(clips) == self.batch_size and not ended:
                yield self.rows(clips), ends
                clips, ends = [], []
        if clips or ends:
            yield self.rows(clips), ends


def detect_aus(paths: Any, model: str | Path | PreTrainedModel, **options: Any) -> pd.DataFrame:
    """Clips -> a table with a row each; `options` are AUDetector's.

    paths: a video, a folder (of frames, videos or frame folders), a pattern, a table of paths, an array, or a list.
    """
    detector = AUDetector(model, **options)
    tables = list(detector.detect(paths))
    return pd.concat(tables, ignore_index=True) if tables else detector.rows([])


def best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _device(asked: str | torch.device | None) -> torch.device:
    """The device, which has to be there: PyTorch alone says so when the model is moved, or when numbers come back."""
    if not isinstance(asked, str | torch.device | None):
        raise TypeError(f"device={shown(asked)} is not allowed; give cpu, cuda, cuda:1 or mps, or leave it out")
    try:
        device = torch.device(asked or best_device())
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:  # no such word, not built for it, no such card
        said = str(error).splitlines()[0]
        raise ValueError(
            f"device={shown(str(asked))} cannot be used here ({shown(said)}); give cpu, cuda, cuda:1 or mps, or leave "
            "it out"
        ) from error
    return device
