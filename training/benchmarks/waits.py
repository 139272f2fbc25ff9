r"""What people wait for, each beside a reference of its own in the same run: `make benchmark`, minutes on a CPU.

    python training/benchmark.py waits
    python training/benchmark.py waits --only clips start

faces   reading a video in windows with the face step, beside reading the same without; left out without YuNet's file
clips   short clips from files to rows, beside the slower of reading alone and the model alone
step    a training step around a bfloat16 LLM as a run does it (training/cpu.py), beside the same without that
start   `aullm predict` of one short clip in a process of its own, with the packaged weights and with a tiny model,
        beside importing torch and transformers' models, which is most of it; in seconds of a processor

`times` is the package's time over the reference's; `asked` is what it should be, on two cores that do nothing else.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import TrainingArguments

from aullm_hf.data.faces import MODEL_VARIABLE, FaceFinder, FaceRecipe
from aullm_hf.inference import AUDetector
from aullm_hf.model import AULLMConfig, AULLMForAUDetection, AULLMVideoProcessor
from aullm_hf.tiny_llm import build_tiny_llm
from aullm_hf.training.cpu import keep_freed_memory, suited_llm
from benchmarks import reading
from benchmarks.clips import write_clips
from benchmarks.shapes import SHAPES, SMALL_VISION, causal_llm, detector_config
from benchmarks.step import package_step, random_clips
from benchmarks.timing import StepClock, median_seconds

FACES = {"align": {}, "follow": {"face": "follow"}, "all": {"faces": "all"}}  # arguments of AUDetector
VIDEO = {"width": 640, "height": 360, "form": "h264"}
FPS = 24  # that the frames of the video count as, whatever its file says
CLIP = {"frames": 40, "width": 640, "height": 480, "form": "h264"}
PROMPT = 10  # text tokens, as many as the default template has


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=WAITS, default=list(WAITS), help="what is measured")
    parser.add_argument("--clips", type=int, default=200, help="of `clips`: how many")
    parser.add_argument("--frames", type=int, default=240, help="of `faces`: frames of the video")
    parser.add_argument("--shape", choices=SHAPES, default="0.1b", help="of `step`: size of the LLM")
    parser.add_argument("--batch", type=int, default=32, help="of `step`: clips at once")
    parser.add_argument("--face_model", type=Path, default=os.environ.get(MODEL_VARIABLE), help="YuNet's file")
    parser.add_argument("--photo", type=Path, help="of `faces`: a picture of a face; by default scikit-image's")


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    rows = []
    for name in args.only:
        measured = WAITS[name](args)
        rows += measured
        for row in measured:
            print(f"{row['what']}: {row['times']:.3g} times {row['reference']}", flush=True)
    return {"what people wait for": rows}


def row_of(what: str, seconds: float, reference: str, reference_seconds: float, asked: str = "") -> dict:
    return {
        "what": what,
        "s": seconds,
        "reference": reference,
        "s reference": reference_seconds,
        "times": seconds / reference_seconds,
        "asked": asked,
    }


# -------------------------------------------------------------------- reading


def face_rows(args: argparse.Namespace) -> list[dict]:
    if args.face_model is None:
        print(f"faces: left out, since neither --face_model nor {MODEL_VARIABLE} says where YuNet's file is")
        return []
    model = tiny_detector()
    recipe = FaceRecipe(detector=FaceFinder(args.face_model).digest)
    processor = AULLMVideoProcessor.for_config(model.config, face=recipe.to_dict())
    with TemporaryDirectory() as folder:
        photo = args.photo or _photo_of_a_face(Path(folder))
        (source,) = write_clips(Path(folder), clips=1, frames=args.frames, photo=photo, **VIDEO)

        def reads(**options) -> Callable[[], object]:
            detector = AUDetector(
                model, processor=processor, device="cpu", window=0.5, fps=FPS, face_model=args.face_model, **options
            )
            if failed := [clip.reason for clip in detector.reader.read(source) if clip.reason]:
                raise SystemExit(f"the benchmark's own video cannot be read: {failed[0]}")
            return lambda: deque(detector.reader.read(source), maxlen=0)

        passes = {"none": reads(face="none")} | {name: reads(**options) for name, options in FACES.items()}
        seconds = median_seconds(passes, args.repeats)
    asked = {"align": "at most 1.5"}
    return [
        row_of(f"reading, faces: {name}", seconds[name], "reading without", seconds["none"], asked.get(name, ""))
        for name in FACES
    ]


def clip_rows(args: argparse.Namespace) -> list[dict]:
    model = tiny_detector()
    processor = AULLMVideoProcessor.for_config(model.config, face=FaceRecipe("none").to_dict())
    detector = AUDetector(model, processor=processor, device="cpu", window=0, face="none")
    with TemporaryDirectory() as folder:
        sources = write_clips(Path(folder), clips=args.clips, **CLIP)
        seconds = {name: wall for name, (wall, _) in reading.read_and_detect(detector, sources, args.repeats).items()}
    slower = max(("reader", "model"), key=seconds.get)
    what = f"{args.clips} clips to rows"
    return [row_of(what, seconds["both"], f"the {slower} alone", seconds[slower], "at most 1.25")]


def tiny_detector() -> AULLMForAUDetection:
    config = detector_config("tiny", "float32", PROMPT)
    return AULLMForAUDetection(config, llm=causal_llm("tiny", "float32").model).eval()


def _photo_of_a_face(folder: Path) -> Path:
    import cv2
    from skimage.data import astronaut

    cv2.imwrite(str(folder / "face.png"), astronaut()[:400, :, ::-1])
    return folder / "face.png"


# -------------------------------------------------------------------- training, starting


def step_rows(args: argparse.Namespace) -> list[dict]:
    """First as the LLM is stored: a process that keeps its memory goes on keeping it."""
    config = detector_config(args.shape, "bfloat16", PROMPT)
    model = AULLMForAUDetection(config, llm=causal_llm(args.shape, "bfloat16").model).train()
    clips = random_clips(args.batch, config.image_size, config.num_labels)
    step = {"step": package_step(model, clips, StepClock())}
    stored = median_seconds(step, args.repeats)["step"]
    keep_freed_memory()
    with TemporaryDirectory() as folder, suited_llm(model, TrainingArguments(folder, use_cpu=True)):
        suited = median_seconds(step, args.repeats)["step"]
    what = f"a training step, {args.shape} LLM, {args.batch} clips"
    return [row_of(what, suited, "the LLM as stored", stored, "at most 0.67")]


def start_rows(args: argparse.Namespace) -> list[dict]:
    """`import transformers` by itself imports next to nothing: what every model of it needs is the reference."""
    with TemporaryDirectory() as folder:
        (source,) = write_clips(Path(folder), clips=1, **CLIP)
        model = AULLMForAUDetection.from_base_llm(AULLMConfig(**SMALL_VISION), str(build_tiny_llm(f"{folder}/llm")))
        for part in (model, AULLMVideoProcessor.for_config(model.config, face=FaceRecipe("none").to_dict())):
            part.save_pretrained(f"{folder}/tiny")
        predict = ["-m", "aullm_hf.commands.main", "predict", str(source.path), "--no_face"]
        commands = {
            "the packaged weights": predict,
            "a tiny model": [*predict, "--model", f"{folder}/tiny"],
            "imports": ["-c", "import torch; from transformers import PreTrainedModel"],
        }
        turns = [{name: _processor_seconds(words) for name, words in commands.items()} for _ in range(args.repeats)]
    seconds = {name: statistics.median(turn[name] for turn in turns) for name in commands}
    imports = seconds.pop("imports")
    reference = "importing torch and transformers' models"
    return [row_of(f"aullm predict with {name}", s, reference, imports, "under 4 s") for name, s in seconds.items()]


def _processor_seconds(words: list[str]) -> float:
    """Of a process from its start to its end: nearly all on one core, so that a busy machine changes little."""
    before = os.times()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


WAITS: dict[str, Callable[[argparse.Namespace], list[dict]]] = {
    "faces": face_rows,
    "clips": clip_rows,
    "step": step_rows,
    "start": start_rows,
}
