"""`aullm info`: what a model is, without loading its weights."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.errors import escape_control
from . import options as shared

if TYPE_CHECKING:
    from ..model import AULLMConfig, AULLMVideoProcessor

EXAMPLES = """examples:
  aullm info                                      (the checkpoint that comes with the package)
  aullm info YOU/REPOSITORY
  aullm info YOU/REPOSITORY --revision fold-sub01
  aullm info runs/quickstart/folds/sub01/checkpoint --json
  aullm info detector.onnx"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, EXAMPLES
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help=f"{shared.MODEL_HELP} (default: the one that comes with the package)"
    )
    shared.add_revision(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    facts = facts_of(options.model, options.revision)
    print(json.dumps(facts, indent=2, ensure_ascii=False) if options.json else text_of(facts))
    return 0


def facts_of(model: str | None, revision: str | None = None) -> dict[str, Any]:
    """Everything that a user of the numbers should know, from the checkpoint's own files."""
    from ..inference.checkpoints import opening
    from ..inference.onnx_models import is_onnx
    from ..packaged import PACKAGED_NAME, packaged_checkpoint

    if is_onnx(model):
        return _facts_of_onnx(model)
    place = str(packaged_checkpoint()) if model is None else model
    with opening(place, revision):
        return _facts_of(place, revision) | {"model": PACKAGED_NAME if model is None else model}


def _facts_of_onnx(model: str) -> dict[str, Any]:
    """From the file's metadata; the LLM is in it, whatever the checkpoint was like."""
    from ..inference.onnx_models import OnnxModel

    onnx = OnnxModel(model)
    files = [onnx.path, onnx.path.with_name(f"{onnx.path.name}.data")]
    facts = _described(onnx.config, onnx.processor)
    facts["llm"]["inside"] = True
    facts |= {"parameters_in_checkpoint": None, "revision": None, "model": model}
    return facts | {"bytes_in_checkpoint": sum(file.stat().st_size for file in files if file.is_file())}


def _facts_of(model: str, revision: str | None) -> dict[str, Any]:
    from ..inference.checkpoints import commit_of
    from ..model import AULLMConfig, AULLMVideoProcessor

    found, _ = AULLMConfig.get_config_dict(model, revision=revision)
    if found.get("model_type") != "aullm":
        raise ValueError(f"{model!r} holds a model of type {found.get('model_type')!r}, not an AU-LLM checkpoint")
    config = AULLMConfig.from_pretrained(model, revision=revision)
    processor = AULLMVideoProcessor.from_pretrained(model, revision=revision)
    parameters, size = _weights(model, revision)
    facts = _described(config, processor) | {"model": model, "revision": commit_of(model, revision)}
    return facts | {"parameters_in_checkpoint": parameters, "bytes_in_checkpoint": size}


def _described(config: "AULLMConfig", processor: "AULLMVideoProcessor") -> dict[str, Any]:
    """What configuration and processor say."""
    from ..data.facs import au_info

    aus = []
    for label in config.labels:
        info = au_info(int(label.removeprefix("AU")))
        own = {"au": label, "name": info.name, "muscle": info.muscle, "place": info.place}
        aus.append(own | {"threshold": config.thresholds[label], "calibration": config.calibration[label]})
    text = config.text_config
    return {
        "aus": aus,
        "input": {
            "frames": processor.num_frames,
            "size": processor.size,
            "value_range": processor.value_range,
            "face": processor.face,
        },
        "llm": {
            "name": config.llm_name_or_path,
            "revision": config.llm_revision,
            "dtype": config.llm_dtype,
            "type": text.model_type,
            "hidden_size": text.hidden_size,
            "layers": text.num_hidden_layers,
            "lora": config.lora,
            "inside": config.save_base_weights,
        },
        "projector": config.projector,
        "mge": config.mge,
        "graph": config.graph,
        "intensity": config.intensity,
        "prompt": config.prompt_template,
        "trained_on": config.training_data,
        "begun_from": config.begun_from,
        "clips_cropped": config.clips_cropped,
    }


def text_of(facts: dict[str, Any]) -> str:
    """For a person."""
    from ..inference.training_note import training_note

    width = max(len(au["name"]) for au in facts["aus"])
    face, llm = facts["input"]["face"], facts["llm"]
    at = f" at {facts['revision']}" if facts["revision"] else ""
    lines = [f"{facts['model']}{at}", "", "Action Units, active from the threshold on (a calibrated probability):"]
    for au in facts["aus"]:
        a, b = au["calibration"]
        muscle = f"  {au['muscle']}" if au["muscle"] else ""
        lines.append(
            f"  {au['au']:<5} {au['name']:<{width}}  threshold {au['threshold']:.3f}  "
            f"probability sigmoid({a:.3g} z {b:+.3g}){muscle}"
        )
    if facts["intensity"]:
        lines.append("And each AU's intensity, from 0 (absent) over 1 (A) to 5 (E)")
    size = facts["input"]["size"]
    lines += ["", f"Input: {facts['input']['frames']} gray frames of {size} x {size} pixels, spread over the clip"]
    if face and face.get("face") == "align":
        lines.append(
            f"Faces: found in the clip's first frame and aligned by one transform to the template {face['template']}; "
            f"detector {face['detector'][:12] or 'not recorded'}"
        )
    else:
        lines.append(
            "Faces: the training clips came cropped; clips given to the model are aligned unless they are known crops"
        )
    where = "inside the checkpoint" if llm["inside"] else f"{llm['name']}, revision {llm['revision'] or 'not pinned'}"
    lines.append(
        f"LLM: {where} ({llm['type']}, {llm['layers']} layers of {llm['hidden_size']}, {llm['dtype'] or 'as stored'})"
    )
    lora = llm["lora"]
    lines.append(f"LoRA: rank {lora['r']} on {', '.join(lora['target_modules'])}" if lora else "LoRA: none")
    modules = ["multi-granularity evidence"] * facts["mge"] + ["a graph of AU relations"] * facts["graph"]
    lines.append(f"Projector: {facts['projector']}{', with ' if modules else ''}{' and '.join(modules)}")
    lines.append(f"Prompt: {facts['prompt']}")
    if size := facts["bytes_in_checkpoint"]:
        parameters = facts["parameters_in_checkpoint"]
        lines.append(f"Checkpoint: {f'{parameters:,} parameters, ' if parameters else ''}{size / 1e6:.1f} MB")
    lines.append(f"Trained on: {facts['trained_on'] or 'not recorded'}")
    if facts["begun_from"]:
        lines.append(f"Begun from weights trained on: {'; before that on: '.join(facts['begun_from'])}")
    if note := training_note(facts["trained_on"]):
        lines.append(f"Note: {note}")
    return "\n".join(map(escape_control, lines))  # a stranger's configuration must not steer the terminal


def _file(model: str, name: str, revision: str | None) -> Path | None:
    from transformers.utils import cached_file

    found = cached_file(model, name, revision=revision, _raise_exceptions_for_missing_entries=False)
    return Path(found) if found else None


def _weights(model: str, revision: str | None) -> tuple[int | None, int | None]:
    """(parameters, bytes) of the checkpoint's one file of weights, from its header."""
    from math import prod

    from safetensors import safe_open

    path = _file(model, "model.safetensors", revision)
    if path is None:
        return None, None
    with safe_open(path, framework="numpy") as file:
        return sum(prod(file.get_slice(name).get_shape()) for name in file.keys()), path.stat().st_size
