"""A loaded model with its processor: clips in, rows out."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from ..model import AULLMForAUDetection, AULLMVideoProcessor
from .reading import ReadClip
from .results import table_of


class AUDetector:
    """A loaded model with its processor. Many threads may share one."""

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
        batch_size: int = 32,
        workers: int = 1,
        **loading: Any,
    ):
        if isinstance(model, PreTrainedModel):
            self.model, self.name = model, str(model.name_or_path or type(model).__name__)
            self.processor = processor or AULLMVideoProcessor.for_config(model.config)
        else:
            self.name = str(model)
            self.model = AULLMForAUDetection.from_pretrained(model, revision=revision, dtype=dtype, **loading)
            self.processor = processor or AULLMVideoProcessor.from_pretrained(model, revision=revision)
        self.revision = getattr(self.model.config, "_commit_hash", None) or revision
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model.to(self.device).eval()
        self.labels: list[str] = self.model.config.labels
        self.thresholds = {label: self.model.config.thresholds[label] for label in self.labels}
        self.batch_size = batch_size
        self._one_at_a_time = threading.Lock()

    def read(self, source: Any, *, keep_onset: bool = False) -> Iterator[ReadClip]:
        """One source -> its clips."""
        frames = np.asarray(source)
        yield ReadClip("array", frames=frames, frames_read=len(frames), onset=frames[0] if keep_onset else None)

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
        for source in sources:
            yield self.rows(list(self.read(source)))


def detect_aus(paths: Any, model: str | Path | PreTrainedModel, **options: Any) -> pd.DataFrame:
    """Clips -> a table with a row each."""
    return pd.concat(AUDetector(model, **options).detect(paths), ignore_index=True)
