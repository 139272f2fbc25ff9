"""`pipeline(model=..., trust_remote_code=True)`: a clip in, named AUs with calibrated scores out."""

from collections.abc import Iterator
from types import GeneratorType
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import Pipeline
from transformers.utils import logging

from .processing_aullm import AULLMVideoProcessor, is_one_clip


class AUDetectionPipeline(Pipeline):
    """For each clip a list of {label, score, active, threshold}, one entry per AU, in the order of the model's labels.

    `score` is the calibrated probability; an AU is active where it reaches its threshold. Both come with the
    checkpoint. A checkpoint with an output for intensities adds `intensity`, the expected level from 0 to 5 (E).

    Args:
        inputs: of a call, a clip or a list of clips, as AULLMVideoProcessor takes them.
        batch_size: of a call, clips that the model reads at once.

    Example:
        >>> from transformers import pipeline
        >>> detect = pipeline(model="CHECKPOINT_FOLDER", trust_remote_code=True)
        >>> [entry["label"] for entry in detect("VIDEO.mp4")]
        ['AU1', 'AU4', 'AU12']
    """

    _load_processor = False
    _load_image_processor = False
    _load_video_processor = None  # if the checkpoint has one
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.video_processor is None:
            self.video_processor = AULLMVideoProcessor.for_config(self.model.config)
        # transformers batches only for pipelines that have a feature extractor: the processor is one.
        self.feature_extractor = self.video_processor
        config, notes = self.model.config, []
        if config.training_data:
            notes.append(f"the model was trained on {config.training_data}")
        if config.clips_cropped or self.video_processor.face:
            notes.append(
                "it expects clips cropped to the face, which this pipeline does not do (`aullm predict` does)"
            )
        if notes:
            logging.get_logger(__name__).warning_once(f"{config.name_or_path or 'au-detection'}: {'; '.join(notes)}.")

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict, dict, dict]:
        if kwargs:
            raise TypeError(
                f"The au-detection pipeline has no option {sorted(kwargs)}; it takes clips and batch_size."
            )
        return {}, {}, {}

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """One clip -> its list; a list of clips -> a list of lists. AULLMVideoProcessor tells the two apart."""
        if isinstance(inputs, (GeneratorType, Dataset)):
            return super().__call__(inputs, **kwargs)  # streamed: one result after another
        if isinstance(inputs, Iterator):
            return super().__call__((clip for clip in inputs), **kwargs)
        if is_one_clip(inputs):
            return super().__call__([inputs], **kwargs)[0]
        clips = list(inputs)
        return super().__call__(clips, **kwargs) if clips else []

    def preprocess(self, clip: Any) -> dict[str, torch.Tensor]:
        if not is_one_clip(clip):
            raise ValueError("An item of the batch is itself a batch of clips; pass one flat list of clips.")
        return {"pixel_values": self.video_processor([clip])["pixel_values"]}

    def _forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        output = self.model(**inputs)
        levels = {} if output.intensity is None else {"intensity": output.intensity}
        return {"probabilities": self.model.probabilities(output.logits), **levels}

    def postprocess(self, outputs: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
        config = self.model.config
        scores = outputs["probabilities"][0].tolist()
        levels = outputs["intensity"][0].tolist() if "intensity" in outputs else None
        return [
            {
                "label": label,
                "score": score,
                "active": score >= config.thresholds[label],
                "threshold": config.thresholds[label],
                **({} if levels is None else {"intensity": levels[at]}),
            }
            for at, (label, score) in enumerate(zip(config.labels, scores, strict=True))
        ]


__all__ = ["AUDetectionPipeline"]
