"""`aullm predict`: clips to a table: a probability, an activity and a threshold per AU."""

import argparse
import hashlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.errors import escape_control

if TYPE_CHECKING:
    import pandas as pd

    from ..inference.detecting import AUDetector
    from ..inference.reading.sources import Source

EXAMPLES = """examples:
  aullm predict /data/clips --model me/casme2-aullm --out aus.parquet
  aullm predict clip.mp4 frames/EP01 --model runs/quickstart/folds/sub01/checkpoint --no_face
  aullm predict "talks/*.mp4" --model me/casme2-aullm --out aus.csv --window 0.5 --stride 0.25 --faces all
  aullm predict clips.csv --model me/casme2-aullm --out aus.json --fps 200

A clip is a video file, a folder of numbered images, or images; a folder of those, a "pattern", or a table (.csv,
.xlsx, .parquet) with a column path and optionally start, end (seconds), onset, offset (frame numbers) and fps names
many. Every one has a row; where nothing could be predicted its column `reason` says why. The same command again goes
on where it was stopped, and adds what is new. Without --out the active AUs are listed, by name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, EXAMPLES
    parser.add_argument("clips", nargs="+", metavar="CLIP", help="videos, folders, patterns, tables")
    parser.add_argument("--model", required=True, help="a folder with a checkpoint, or a repository on the Hub")
    parser.add_argument("--revision", help="branch, tag or commit of the repository")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the table: .parquet, .csv, .json or .jsonl")
    parser.add_argument("--names", action="store_true", help="one row a clip and AU, with the AU's name and muscle")
    parser.add_argument("--overwrite", action="store_true", help="replace results that were made otherwise")
    parser.add_argument("--strict", action="store_true", help="exit status 1 if any row has a reason")
    faces = parser.add_argument_group("faces (default: as the model was trained)")
    faces.add_argument(
        "--face", choices=["align", "follow", "none"],
        help="align: located once a clip, as in training; follow: the crop moves with the head; none: cropped already",
    )  # fmt: skip
    faces.add_argument("--no_face", action="store_true", help="the clips are cropped to the face already")
    faces.add_argument("--faces", choices=["largest", "all"], default="largest", help="whose")
    faces.add_argument("--face_model", metavar="FILE", help="YuNet's .onnx file, where it is not the Hub's")
    time = parser.add_argument_group("time (default: over 5 s, windows of 0.5 s)")
    time.add_argument("--window", type=float, metavar="SECONDS", help="read in windows of this length; 0: whole")
    time.add_argument("--stride", type=float, metavar="SECONDS", help="from one window to the next (half a window)")
    time.add_argument("--fps", type=float, help="the true frame rate, where files do not say it, or say it wrongly")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", help="cpu, cuda, ..; the GPU where there is one")
    machine.add_argument("--dtype", help="of the frozen LLM: float32, bfloat16 or float16")
    machine.add_argument("--batch_size", type=int, default=32, help="clips the model reads at once")
    machine.add_argument("--workers", type=int, help="threads that read ahead (default: all cores but one, at most 8)")


def run(options: argparse.Namespace) -> int:
    if options.no_face and options.face not in (None, "none"):
        raise ValueError(f"--no_face and --face {options.face} contradict each other")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # its face detector warns on every start
    from ..inference.saving import check_out

    if options.out:
        check_out(options.out)
    sources = _sources(options)
    return _predict(options, _detector(options), sources)


def _sources(options: argparse.Namespace) -> list["Source"]:
    from ..data.reading.folders import IMAGE_SUFFIXES, natural_key
    from ..inference.reading.sources import sources_of

    clips = options.clips
    if all(Path(clip).suffix.lower() in IMAGE_SUFFIXES for clip in clips):  # *.jpg, in the shell's own order
        clips = sorted(clips, key=natural_key)
    return list(sources_of(clips, options.fps))


def _detector(options: argparse.Namespace) -> "AUDetector":
    from ..inference.detecting import AUDetector

    return AUDetector(
        options.model,
        revision=options.revision,
        device=options.device,
        dtype=options.dtype,
        face="none" if options.no_face else options.face,
        faces=options.faces,
        window=options.window,
        stride=options.stride,
        fps=options.fps,
        face_model=options.face_model,
        batch_size=options.batch_size,
        workers=options.workers,
    )


def _predict(options: argparse.Namespace, detector: "AUDetector", sources: list["Source"]) -> int:
    from tqdm import tqdm

    def bar(count: int, there: int = 0) -> tqdm:
        return tqdm(total=count, initial=there, unit=" sources", file=sys.stderr, disable=None, dynamic_ncols=True)

    reasons: Counter[str] = Counter()
    rows_now = 0
    if options.out is None:
        with bar(len(sources)) as progress:
            for _, rows in detector.detect_each(sources):
                progress.update()
                _count(rows, reasons)
                rows_now += len(rows)
                with tqdm.external_write_mode(sys.stdout):
                    said = [escape_control(_said(row, detector.labels)) for row in rows.to_dict("records")]
                    print("\n".join(said), flush=True)
        return _summary(options, len(sources), rows_now, reasons, sum(reasons.values()))

    from ..inference.saving import Results

    with Results(options.out, _settings(options, detector), detector.labels, overwrite=options.overwrite) as results:
        keys = [results.key(source) for source in sources]
        todo = [(key, source) for key, source in zip(keys, sources, strict=True) if not results.has(key, source)]
        there = len(sources) - len(todo)
        try:
            with bar(len(sources), there) as progress:
                ready = detector.detect_each([source for _, source in todo])
                for (key, source), (_, rows) in zip(todo, ready, strict=True):
                    results.add(key, source, rows)
                    _count(rows, reasons)
                    progress.update()
        except KeyboardInterrupt:
            print(
                f"\nStopped: the rows of {sum(key in results.places for key in keys)} of {len(sources)} sources are "
                f"kept in {results.journal}; the same command goes on from there.",
                file=sys.stderr,
            )
            return 130
        count = results.write(named=options.names)
        return _summary(options, len(sources), count, reasons, results.bad_rows(keys), there)


def _settings(options: argparse.Namespace, detector: "AUDetector") -> dict:
    """What the rows depend on, beside the clips."""
    reader = detector.reader
    return {
        "model": detector.name,
        "revision": detector.revision,
        "weights": _weights(options.model),
        "dtype": options.dtype,
        "face": reader.look.recipe.to_dict(),
        "detector": reader.look.finder.digest if reader.look.finder else None,
        "follow": reader.look.follow,
        "faces": options.faces,
        "window": options.window,
        "stride": options.stride,
    }


def _weights(model: str) -> str | None:
    """Tells a folder's checkpoint from one that was trained again in its place; a repository has its revision."""
    folder = Path(model)
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        stat = path.stat()
        changed = path.read_bytes() if path.suffix == ".json" else repr((stat.st_size, stat.st_mtime_ns)).encode()
        digest.update(path.name.encode() + b"\0" + changed)
    return digest.hexdigest()[:16]


def _count(rows: "pd.DataFrame", reasons: Counter) -> None:
    from ..inference.saving import short

    reasons.update(short(reason) for reason in rows["reason"] if reason)


def _said(row: dict, labels: list[str]) -> str:
    """One row for a person: the active AUs by name, or why there are none."""
    from ..data.facs import au_name

    where = row["source"]
    if row["start"] == row["start"]:  # not NaN
        where += f"  {row['start']:.2f}-{row['end']:.2f} s"
    if row["face_id"]:
        where += f"  face {row['face_id']}"
    if row["reason"]:
        return f"{where}: not read: {row['reason']}"
    active = [
        f"{au_name(int(label.removeprefix('AU')))} {row[f'p_{label}']:.2f} (from {row[f'threshold_{label}']:.2f})"
        for label in labels
        if row[f"active_{label}"]
    ]
    note = f"  [{row['warning']}]" if row["warning"] else ""
    return f"{where}: {', '.join(active) or 'no AU is active'}{note}"


def _summary(options: argparse.Namespace, sources: int, rows: int, reasons: Counter, bad: int, there: int = 0) -> int:
    """The last line; and the exit status."""
    parts = [f"{sources} sources, {rows} rows"]
    if there:
        parts.append(f"{there} sources were there already")
    why = ", ".join(f"{count} x {reason}" for reason, count in reasons.most_common(6))
    parts.append(f"{bad} rows with a reason" + (f" ({why})" if why else "") if bad else "all were read")
    print(escape_control(f"{'; '.join(parts)}{f' -> {options.out}' if options.out else ''}"), file=sys.stderr)
    return int(options.strict and bad > 0)
