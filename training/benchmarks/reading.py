r"""How fast clips are read, and whether reading hides behind the model. Ratios, not records: the machine is shared.

    python training/benchmarks/reading.py                                   # synthetic clips, a random 0.1B detector
    python training/benchmarks/reading.py --shape 0.5b --batch_size 32 --workers 2
    python training/benchmarks/reading.py --face_model yunet.onnx --photo face.jpg --clips 100   # with the face step
    python training/benchmarks/reading.py --memory --clips 1000 --shape tiny     # resident memory over many clips

Reader alone, model alone and both are run by turns, each on the same clips and with the same number of threads as
in use; end to end should take no longer than the slower of the two, so the ratio (the slower's time over end to end's)
should be near 1. The reader's frames are those that the clips have, of which the model samples some.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from aullm_hf.data.faces import FaceFinder, FaceRecipe
from aullm_hf.inference import AUDetector
from aullm_hf.inference.reading.prefetching import read_ahead
from aullm_hf.inference.reading.sources import Source
from aullm_hf.model import AULLMVideoProcessor
from benchmarks.clips import FORMS, write_clips
from benchmarks.shapes import SHAPES, model_of
from benchmarks.timing import table


def detector_of(args: argparse.Namespace) -> AUDetector:
    """A random detector of the real shape, which reads as it would in use."""
    torch.manual_seed(0)
    model = model_of(args.shape, args.dtype, 16)
    recipe = FaceRecipe("none")
    if args.face_model:
        recipe = FaceRecipe(detector=FaceFinder(args.face_model).digest)
    processor = AULLMVideoProcessor.for_config(model.config, face=recipe.to_dict())
    options = {"face_model": args.face_model, "batch_size": args.batch_size, "workers": args.workers}
    return AUDetector(model, processor=processor, device=args.device, window=0, **options)


def seconds(run: Iterator) -> tuple[float, float]:
    """(on the clock, of all cores together)"""
    start, worked = time.perf_counter(), time.process_time()
    for _ in run:
        pass
    return time.perf_counter() - start, time.process_time() - worked


def measure(detector: AUDetector, sources: list[Source], repeats: int) -> dict[str, tuple[float, float]]:
    """Median seconds (clock, cores) of the reader alone, the model alone and both, run by turns."""
    ahead = 2 * detector.batch_size
    clips = [clip for source in sources[:ahead] for clip in detector.reader.read(source)]
    if failed := [clip.reason for clip in clips if clip.reason]:
        raise SystemExit(f"the benchmark's own clips cannot be read: {failed[0]}")
    clips = [clips[at % len(clips)] for at in range(len(sources))]
    batches = [clips[at : at + detector.batch_size] for at in range(0, len(clips), detector.batch_size)]
    runs = {
        "reader": lambda: read_ahead(sources, detector.reader.read, detector.workers, ahead),
        "model": lambda: map(detector.rows, batches),
        "both": lambda: detector.detect(sources),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(repeats + 1):  # the first warms up
        for name, run in runs.items():
            spent = seconds(iter(run()))
            if turn:
                taken[name].append(spent)
    return {name: tuple(map(statistics.median, zip(*values, strict=True))) for name, values in taken.items()}


def memory(detector: AUDetector, sources: list[Source]) -> list[float]:
    """Resident megabytes after each tenth of the clips."""
    import psutil

    process, every = psutil.Process(), max(len(sources) // 10, 1)
    held, done, due = [], 0, every
    for rows in detector.detect(sources):
        done += len(rows)
        if done >= due:
            held.append(process.memory_info().rss / 2**20)
            due += every
    return held


def slope(held: list[float], clips: float) -> float:
    """Kilobytes a clip: the median slope of all pairs, which a passing peak does not move."""
    pairs = [(later - held[at]) / (to - at) for at in range(len(held)) for to, later in enumerate(held) if to > at]
    return 1024 * statistics.median(pairs) * len(held) / clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="0.1b")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--frames", type=int, default=68, help="a clip; CASME II's mean is 68")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--form", choices=[*FORMS, "folder"], default="h264")
    parser.add_argument("--photo", type=Path, help="a picture with a face, for --face_model")
    parser.add_argument("--face_model", type=Path, help="YuNet's file: with the face step")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of the model on a CPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    detector = detector_of(args)
    with tempfile.TemporaryDirectory() as folder:
        sources = write_clips(
            Path(folder),
            clips=args.clips,
            frames=args.frames,
            width=args.width,
            height=args.height,
            form=args.form,
            photo=args.photo,
        )
        if args.memory:
            held = memory(detector, sources)
            print("MB after each tenth: " + ", ".join(f"{value:.1f}" for value in held))
            print(f"{slope(held, len(sources)):.2f} kB a clip over all, ", end="")
            print(f"{slope(held[len(held) // 2 :], len(sources) / 2):.2f} kB a clip over the second half")
            return
        measured = measure(detector, sources, args.repeats)
    spent = {name: clock for name, (clock, _) in measured.items()}
    cores = {name: worked / clock for name, (clock, worked) in measured.items()}
    row = {
        "form": args.form,
        "size": f"{args.width} x {args.height}",
        "faces": "located" if args.face_model else "cropped already",
        "LLM": args.shape,
        "workers": args.workers,
        "reader frames/s": len(sources) * args.frames / spent["reader"],
        "reader clips/s": len(sources) / spent["reader"],
        "model clips/s": len(sources) / spent["model"],
        "end to end clips/s": len(sources) / spent["both"],
        "ratio": max(spent["reader"], spent["model"]) / spent["both"],
        "cores of reader, model, both": ", ".join(f"{value:.2f}" for value in cores.values()),
    }
    print(table([row]))


if __name__ == "__main__":
    main()
