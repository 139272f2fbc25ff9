r"""How fast clips are read, and whether reading hides behind the model. Ratios, not records: the machine is shared.

    python training/benchmark.py reading                                    # synthetic clips, a random 0.1B detector
    python training/benchmark.py reading --shape 0.5b --batch_size 32 --workers 2
    python training/benchmark.py reading --face_model yunet.onnx --photo face.jpg --clips 100   # with the face step

Reader alone, model alone and both run alternately, each on the same clips and with the same number of threads as in
use; end to end should take no longer than the slower of the two, so the ratio (the slower's time over end to end's)
should be near 1. The reader's frames are those that the clips have, of which the model samples some.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from aullm_hf.data.faces import FaceFinder, FaceRecipe
from aullm_hf.inference import AUDetector
from aullm_hf.inference.reading.clip_source import ClipSource
from aullm_hf.inference.reading.prefetching import prefetch
from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from benchmarks.clips import FORMS, write_clips
from benchmarks.shapes import add_shape_arguments, causal_llm, detector_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shape_arguments(parser, "0.1b")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--frames", type=int, default=68, help="frames of a clip; CASME II's mean is 68")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--form", choices=[*FORMS, "folder"], default="h264", help="how the clips are stored")
    parser.add_argument("--photo", type=Path, help="a picture with a face, for --face_model")
    parser.add_argument("--face_model", type=Path, help="YuNet's file: with the face step")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1, help="threads that read clips")
    parser.set_defaults(threads=1)


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    detector = build_detector(args)
    with TemporaryDirectory() as folder:
        sources = write_clips(
            Path(folder),
            clips=args.clips,
            frames=args.frames,
            width=args.width,
            height=args.height,
            form=args.form,
            photo=args.photo,
        )
        return {"reading": [reading_row(args, read_and_detect(detector, sources, args.repeats))]}


def build_detector(args: argparse.Namespace) -> AUDetector:
    """A random detector of the real shape, which reads as it would in use."""
    config = detector_config(args.shape, args.dtype, 16)
    model = AULLMForAUDetection(config, llm=causal_llm(args.shape, args.dtype).model).eval()
    recipe = FaceRecipe("none")
    if args.face_model:
        recipe = FaceRecipe(detector=FaceFinder(args.face_model).digest)
    processor = AULLMVideoProcessor.for_config(model.config, face=recipe.to_dict())
    face = None if args.face_model else "none"  # without a face model the clips count as cropped, whatever is at hand
    options = {"face": face, "face_model": args.face_model, "batch_size": args.batch_size, "workers": args.workers}
    return AUDetector(model, processor=processor, device=args.device, window=0, **options)


def read_and_detect(detector: AUDetector, sources: list[ClipSource], repeats: int) -> dict[str, tuple[float, float]]:
    """Median seconds (wall clock, all cores) of the reader alone, the model alone and both, run alternately."""
    ahead = 2 * detector.batch_size
    clips = [clip for source in sources[:ahead] for clip in detector.reader.read(source)]
    if failed := [clip.reason for clip in clips if clip.reason]:
        raise SystemExit(f"the benchmark's own clips cannot be read: {failed[0]}")
    clips = [clips[at % len(clips)] for at in range(len(sources))]
    batches = [clips[at : at + detector.batch_size] for at in range(0, len(clips), detector.batch_size)]
    runs = {
        "reader": lambda: prefetch(sources, detector.reader.read, detector.workers, ahead),
        "model": lambda: map(detector.rows, batches),
        "both": lambda: detector.detect(sources),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(repeats + 1):  # the first warms up
        for name, run in runs.items():
            measured = seconds_of(iter(run()))
            if turn:
                seconds[name].append(measured)
    return {name: tuple(map(statistics.median, zip(*values, strict=True))) for name, values in seconds.items()}


def seconds_of(run: Iterator) -> tuple[float, float]:
    """(wall clock, all cores together) until the iterator is exhausted."""
    start, worked = time.perf_counter(), time.process_time()
    for _ in run:
        pass
    return time.perf_counter() - start, time.process_time() - worked


def reading_row(args: argparse.Namespace, measured: dict[str, tuple[float, float]]) -> dict:
    seconds = {name: clock for name, (clock, _) in measured.items()}
    cores = {name: worked / clock for name, (clock, worked) in measured.items()}
    return {
        "form": args.form,
        "size": f"{args.width} x {args.height}",
        "faces": "located" if args.face_model else "cropped already",
        "LLM": args.shape,
        "workers": args.workers,
        "reader frames/s": args.clips * args.frames / seconds["reader"],
        "reader clips/s": args.clips / seconds["reader"],
        "model clips/s": args.clips / seconds["model"],
        "end to end clips/s": args.clips / seconds["both"],
        "ratio": max(seconds["reader"], seconds["model"]) / seconds["both"],
        "cores of reader, model, both": ", ".join(f"{value:.2f}" for value in cores.values()),
    }
