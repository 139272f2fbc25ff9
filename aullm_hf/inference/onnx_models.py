"""A detector as an ONNX file, and such a file as a model for `AUDetector`, run by onnxruntime. Needs the extra `onnx`.

The network is from pixel_values (clips, T, 1, H, W) to logits (clips, n_AU), for any number of clips, and to intensity
(clips, n_AU) where the model has that output. The configurations of the checkpoint (AUs, thresholds, calibration,
prompt, what it was trained on) and of its processor (frames, size, how faces are cut out) are metadata of the file, so
that it is read and calibrated as the checkpoint is.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from ..model import AULLMConfig, AULLMForAUDetection, AULLMVideoProcessor
from ..model.detector import AUDetectorMixin
from ..model.modeling_aullm import AUDetectionOutput
from ..packaged import packaged_checkpoint
from ..whole_files import naming
from .checkpoints import opening

SUFFIX = ".onnx"
METADATA = "aullm"  # the key of what the file says of itself
TOLERANCE = 1e-4  # of logits, between PyTorch and onnxruntime
ONE_FILE = 1_900_000_000  # bytes: a file of ONNX holds at most 2 GiB, larger weights lie in a second one


def is_onnx(model: Any) -> bool:
    return isinstance(model, str | os.PathLike) and Path(model).suffix.lower() == SUFFIX


def export_onnx(model: str | Path | None, out: str | Path, *, revision: str | None = None) -> list[Path]:
    """Write a checkpoint as an ONNX file, in float32, with the LLM inside; the files that were written.

    What was written is run by onnxruntime and compared with PyTorch before it takes its place.

    Args:
        model: a checkpoint's folder, or a repository on the Hub; None: the checkpoint that comes with the package.
        out: the file, FILE.onnx; weights over 1.9 GB lie in FILE.onnx.data beside it.
        revision: branch, tag or commit of the repository.

    Example:
        >>> from aullm_hf import detect_aus
        >>> from aullm_hf.inference import export_onnx
        >>> written = export_onnx("CHECKPOINT_FOLDER", "detector.onnx")  # doctest: +SKIP
        >>> table = detect_aus("VIDEO.mp4", "detector.onnx")  # doctest: +SKIP
    """
    out = Path(out)
    if not is_onnx(out):
        raise ValueError(f"out is {str(out)!r}; give a file that ends in {SUFFIX}.")
    runtime = _import("onnxruntime")
    _import("onnxscript")  # which torch's exporter is written in
    if model is None:
        model = packaged_checkpoint()
    with opening(model, revision):
        detector = AULLMForAUDetection.from_pretrained(model, revision=revision, dtype="float32")
        processor = AULLMVideoProcessor.from_pretrained(model, revision=revision)
    out.parent.mkdir(parents=True, exist_ok=True)
    with naming(out), TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.", suffix=".partial") as folder:
        if detector.config.lora:  # folded into the LLM's weights
            detector.merge_and_export(Path(folder) / "merged")
            detector = AULLMForAUDetection.from_pretrained(Path(folder) / "merged")
        staged = Path(folder) / "onnx"
        staged.mkdir()
        _write(_Network(detector), processor, staged / out.name, str(model))
        _check_equal(runtime, staged / out.name, detector, str(model))
        written = sorted(staged.iterdir(), reverse=True)  # the weights first: the file that names them comes last
        for file in written:
            os.replace(file, out.parent / file.name)
    return [out.parent / file.name for file in reversed(written)]


class _Network(nn.Module):
    """pixel_values -> outputs, each clip in its own sequence: what onnxruntime can run for any number of clips."""

    def __init__(self, detector: AULLMForAUDetection):
        super().__init__()
        self.detector = detector
        detector.model.prompt.clips_per_sequence = 1
        self.eval()

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.detector(pixel_values)
        return tuple(getattr(output, name) for name in outputs_of(self.detector.config))


def _write(network: _Network, processor: AULLMVideoProcessor, path: Path, name: str) -> None:
    config = network.detector.config
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                network,
                (random_clips(config, 3),),
                input_names=["pixel_values"],
                output_names=outputs_of(config),
                dynamic_shapes={"pixel_values": {0: torch.export.Dim.DYNAMIC}},
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter has many of its own, whose last line says what it stumbled over
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise ValueError(
            f"the model {name!r} cannot be exported to ONNX: an operation of its {config.text_config.model_type} LLM, "
            f"or of motion={config.motion!r} or projector={config.projector!r}, is not known to the exporter "
            f"({reason}). `aullm export` writes it for PyTorch"
        ) from error
    facts = {"config": config.to_dict(), "processor": processor.to_dict()}
    program.model.metadata_props[METADATA] = json.dumps(facts)
    weights = sum(value.nbytes for value in network.state_dict().values())
    program.save(path, external_data=weights > ONE_FILE)


def _check_equal(runtime: Any, path: Path, detector: AULLMForAUDetection, name: str) -> None:
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 2):  # neither is the number that it was exported with
        clips = random_clips(detector.config, count)
        with torch.no_grad():
            wanted = detector(clips)
        for output, found in zip(
            outputs_of(detector.config), session.run(None, {"pixel_values": clips.numpy()}), strict=True
        ):
            if (difference := float(np.abs(found - wanted[output].numpy()).max())) > TOLERANCE:
                raise ValueError(
                    f"the model {name!r} was exported to ONNX, but onnxruntime's {output} differ from PyTorch's by "
                    f"{difference:.2g} where {TOLERANCE:g} is allowed; nothing was written"
                )


def outputs_of(config: AULLMConfig) -> list[str]:
    """The outputs of the network, in order."""
    return ["logits", *["intensity"] * config.intensity]


def random_clips(config: AULLMConfig, count: int) -> torch.Tensor:
    """(count, T, 1, H, W) in the range of real ones."""
    size = (count, config.num_frames, 1, config.image_size, config.image_size)
    return torch.rand(size, generator=torch.Generator().manual_seed(count))


class OnnxModel(AUDetectorMixin):
    """What `AUDetector` needs of a model, from an ONNX file."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"model is {str(path)!r}: there is no such file.")
        runtime = _import("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = runtime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
            facts = json.loads(self.session.get_modelmeta().custom_metadata_map[METADATA])
            self.config = AULLMConfig.from_dict(facts["config"])
            self.processor = AULLMVideoProcessor.from_dict(facts["processor"])
        except KeyError as error:
            raise ValueError(
                f"model is {str(path)!r}, an ONNX file without the metadata {METADATA!r}: nothing says which AUs it "
                "gives. Write one with `aullm export onnx MODEL FILE.onnx`."
            ) from error
        except Exception as error:  # onnxruntime's own are no subclasses of anything
            reason = " ".join(str(error).split())
            raise ValueError(f"model is {str(path)!r}, which could not be read as ONNX ({reason}).") from error

    def __call__(self, pixel_values: torch.Tensor) -> AUDetectionOutput:
        found = map(torch.from_numpy, self.session.run(None, {"pixel_values": pixel_values.float().cpu().numpy()}))
        return AUDetectionOutput(**dict(zip(outputs_of(self.config), found, strict=True)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Around the exporter, which names every library that it could do more with."""
    chatter = logging.getLogger("torch.onnx")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatter.setLevel(level)


def _import(name: str) -> Any:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import: onnxruntime reports its use to its maker otherwise
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f'ONNX files need {name}: pip install "aullm-hf[onnx]".') from error


__all__ = ["OnnxModel", "export_onnx", "is_onnx"]
