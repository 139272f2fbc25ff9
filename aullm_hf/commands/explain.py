"""`aullm explain`: clips to pictures and plain sentences: where on the face, when, and why."""

import argparse
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.errors import escape_control
from ..inference.pictures.drawing import FORMATS, save_figure

if TYPE_CHECKING:
    from ..inference.detecting import AUDetector
    from ..inference.reading.clips import ReadClip

EXAMPLES = """examples:
  aullm explain clip.mp4 --model me/casme2-aullm --out pictures
  aullm explain clips/*.mp4 --model runs/quickstart/folds/sub01/checkpoint --out pictures --no_face
  aullm explain talk.mp4 --model me/casme2-aullm --out pictures --window 0.5 --aus AU4,AU12 --format pdf

Each clip has a folder with its pictures; explanation.json in the folder above says it all in numbers and sentences.
The film strip shows the face: keep the folder as carefully as the clips."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, EXAMPLES
    parser.add_argument("clips", nargs="+", metavar="CLIP", help="videos, folders, patterns, tables: as for predict")
    parser.add_argument("--model", required=True, help="a folder with a checkpoint, or a repository on the Hub")
    parser.add_argument("--revision", help="branch, tag or commit of the repository")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--format", choices=[name[1:] for name in FORMATS], default="png", help="of the pictures")
    parser.add_argument(
        "--aus", default="active", help="which AUs: active (where none is, the likeliest), all, or names: AU4,AU12"
    )
    parser.add_argument(
        "--most", type=int, default=3, metavar="N", help="windows explained per recording and face, the clearest first"
    )
    faces = parser.add_argument_group("faces (default: as the model was trained)")
    faces.add_argument("--face", choices=["align", "follow", "none"], help="how faces are cut out: as for predict")
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


def run(options: argparse.Namespace) -> int:
    if options.no_face and options.face not in (None, "none"):
        raise ValueError(f"--no_face and --face {options.face} contradict each other")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # its face detector warns on every start
    written = _explain(options)
    for clip in written["clips"]:
        print(f"\n{escape_control(clip['title'])}")
        for line in [clip["reason"], clip["warning"], *(au["sentence"] for au in clip["aus"])]:
            if line:
                print(f"  {escape_control(line)}")
    failed = sum(bool(clip["reason"]) for clip in written["clips"])
    print(
        f"\n{len(written['clips']) - failed} explained, {failed} could not be read, "
        f"{written['not_explained']} windows only in the timeline (--most). "
        f"Pictures and explanation.json are in {options.out}."
    )
    return 0


def _explain(options: argparse.Namespace) -> dict:
    from ..inference.detecting import AUDetector
    from ..inference.saving import check_folder

    check_folder(options.out)
    _check_most(options.most)
    detector = AUDetector(
        options.model,
        revision=options.revision,
        device=options.device,
        dtype=options.dtype,
        face="none" if options.no_face else options.face,
        faces=options.faces,
        face_model=options.face_model,
        window=options.window,
        stride=options.stride,
        fps=options.fps,
    )
    aus = options.aus if options.aus in ("active", "all") else [name.strip() for name in options.aus.split(",")]
    return explain_clips(detector, options.clips, options.out, aus=aus, most=options.most, format=options.format)


def explain_clips(
    detector: "AUDetector",
    sources: Any,
    out: str | Path,
    *,
    aus: str | list[str] = "active",
    most: int = 3,
    format: str = "png",
) -> dict:
    """Pictures of every clip under `out`, and what they say as explanation.json, which is also returned.

    Of a recording's windows the `most` in which an AU stands highest above its threshold are explained; all are in its
    timeline. What cannot be read is in explanation.json with its reason.
    """
    from ..inference.pictures.clip_pictures import clearest, clip_pictures, explain_clip, title_of
    from ..inference.pictures.timeline import timeline
    from ..inference.pictures.wording import entries

    if isinstance(aus, list) and (unknown := sorted(set(aus) - set(detector.labels))):
        named, known = ", ".join(map(repr, unknown)), ", ".join(detector.labels)
        raise ValueError(f"aus holds {named}; allowed: 'active', 'all', or {known}.")
    _check_most(most)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    records, left_out = [], 0
    for clips in _by_source(detector, sources):
        table = detector.rows(clips)
        good = [at for at, clip in enumerate(clips) if not clip.reason]
        records += [_record(clip, title_of(clip, len(clips))) for clip in clips if clip.reason]
        for face in sorted({clips[at].face_id for at in good}):
            of_face = [at for at in good if clips[at].face_id == face]
            chosen = clearest(table.iloc[of_face], detector.labels, most)
            left_out += len(of_face) - len(chosen)
            timed = len(of_face) > 1 and clips[of_face[0]].start is not None
            for at in chosen:
                clip = clips[at]
                title = title_of(clip, len(clips))
                folder = _folder_name(title.replace(Path(clip.source).name, Path(clip.source).stem, 1), taken)
                frames, explanation = explain_clip(detector, clip, aus)
                span = None if clip.start is None or clip.end is None else (clip.start, clip.end)
                pictures = clip_pictures(frames, explanation, span=span, title=title)
                if timed:  # the whole recording, beside its first explained window
                    of_person = table[(table["face_id"] == face) | table["reason"].ne("")]
                    pictures["timeline"] = timeline(of_person, title=clip.source)
                    timed = False
                names = [
                    save_figure(figure, out / folder / f"{name}.{format}").name for name, figure in pictures.items()
                ]
                records.append(_record(clip, title) | {"folder": folder, "pictures": names} | entries(explanation))
    written = {
        "model": detector.name,
        "revision": detector.revision,
        "what": "probability: calibrated; strength: share of what an AU hears; effect: how far its probability falls "
        "without that neighbour; counterfactual: how far it falls without its evidence",
        "clips": records,
        "not_explained": left_out,
    }
    (out / "explanation.json").write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return written


def _check_most(most: int) -> None:
    if most < 1:
        raise ValueError(f"most is {most}; allowed: 1 or more windows per recording and face.")


def _by_source(detector: "AUDetector", sources: Any) -> Iterator[list["ReadClip"]]:
    """All clips of one source after another, failures too."""
    from ..inference.reading.sources import sources_of

    for source in sources_of(sources, detector.fps):
        yield list(detector.read(source))


def _record(clip: "ReadClip", title: str) -> dict:
    return {
        "title": title,
        "source": clip.source,
        "clip": clip.clip,
        "face_id": clip.face_id,
        "start": clip.start,
        "end": clip.end,
        "fps": clip.fps,
        "frames_read": clip.frames_read,
        "face_found": clip.face_found,
        "box": None if clip.box is None else [float(value) for value in clip.box],
        "reason": clip.reason,
        "warning": clip.warning,
        "folder": None,
        "pictures": [],
        "probabilities": {},
        "thresholds": {},
        "aus": [],
    }


def _folder_name(title: str, taken: set[str]) -> str:
    """A name that every file system takes, and no other clip has."""
    plain = re.sub(r"[^\w.-]+", "_", title).strip("._")[:80] or "clip"
    name, number = plain, 2
    while name.casefold() in taken:
        name, number = f"{plain}_{number}", number + 1
    taken.add(name.casefold())
    return name


__all__ = ["add_arguments", "explain_clips", "run"]
