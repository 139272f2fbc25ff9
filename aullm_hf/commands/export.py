"""`aullm export`: a self-contained model: LoRA folded into the LLM, the LLM inside; as a checkpoint or as ONNX."""

import argparse
import shutil
import sys
from pathlib import Path

from . import options as shared

EXAMPLES = """examples:
  aullm export runs/casme2-ours/final/checkpoint exported
  aullm export YOU/REPOSITORY exported --revision fold-sub01
  aullm export exported                           (the checkpoint that comes with the package)
  aullm predict CLIP.mp4 --model exported
  aullm export onnx runs/casme2-ours/final/checkpoint detector.onnx
  aullm predict CLIP.mp4 --model detector.onnx

A checkpoint of a run holds what was trained and names its base LLM, which is loaded from its own place. The exported
one needs neither the base LLM nor this package: `AutoModel.from_pretrained("exported", trust_remote_code=True)`. Its
logits are the same up to rounding. The LLM's weights are in it, so the LLM's licence goes with it.

`onnx` writes one file for onnxruntime instead, in float32, after comparing both on random clips. It predicts as the
checkpoint does, and explains nothing. Needs the extra `onnx`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, EXAMPLES
    parser.add_argument("form", nargs="?", metavar="onnx", help="write ONNX, no checkpoint")
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help=f"{shared.MODEL_HELP} (default: the one that comes with the package)"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write, new or empty; or FILE.onnx")
    shared.add_revision(parser)
    parser.add_argument("--dtype", help="of the frozen LLM: float32, bfloat16 or float16 (default: as stored)")


def run(options: argparse.Namespace) -> int:
    out = options.out
    if options.form not in (None, "onnx"):  # words fill the places from the left
        if options.model is not None:
            raise ValueError(
                f"{options.form!r} is in the place of `onnx`; give `aullm export MODEL OUT`, or "
                "`aullm export onnx MODEL FILE.onnx`"
            )
        options.form, options.model = None, options.form
    if options.form == "onnx" or out.suffix.lower() == ".onnx":
        return _export_onnx(options)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"OUT is {str(out)!r}, which is there already; give a new or an empty folder")
    partial = out.with_name(f".{out.name}.partial")  # whole, or not there
    shutil.rmtree(partial, ignore_errors=True)
    try:
        export_checkpoint(options.model, partial, revision=options.revision, dtype=options.dtype)
        if out.is_dir():
            out.rmdir()
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}: {size / 1e6:.1f} MB, self-contained", file=sys.stderr)
    return 0


def _export_onnx(options: argparse.Namespace) -> int:
    if options.dtype not in (None, "float32"):
        raise ValueError(f"--dtype is {options.dtype!r}; ONNX files are written in float32, so leave it out.")
    if options.out.exists():
        raise ValueError(f"OUT is {str(options.out)!r}, which is there already; give a new file")
    from ..inference.onnx_models import export_onnx

    files = export_onnx(options.model, options.out, revision=options.revision)
    size = sum(file.stat().st_size for file in files)
    names = " and ".join(str(file) for file in files)
    print(f"{names}: {size / 1e6:.1f} MB, for onnxruntime", file=sys.stderr)
    return 0


def export_checkpoint(model: str | None, out: Path, *, revision: str | None = None, dtype: str | None = None) -> None:
    """Load a checkpoint with its base LLM, and write both as one, with the processor."""
    from ..inference.checkpoints import opening
    from ..model import AULLMForAUDetection, AULLMVideoProcessor
    from ..packaged import packaged_checkpoint

    model = str(packaged_checkpoint()) if model is None else model
    with opening(model, revision):
        detector = AULLMForAUDetection.from_pretrained(model, revision=revision, dtype=dtype)
        processor = AULLMVideoProcessor.from_pretrained(model, revision=revision)
    detector.merge_and_export(out)
    processor.save_pretrained(out)
