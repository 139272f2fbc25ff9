"""`aullm explain`: clips to pictures and plain sentences: where on the face, when, and why."""

import argparse
from pathlib import Path

from ..arguments import counted
from ..data.errors import escape_control
from ..inference.pictures.drawing import FORMATS
from . import options as shared

EXAMPLES = """examples:
  aullm explain CLIP.mp4 --model YOU/REPOSITORY --out pictures
  aullm explain CLIPS_FOLDER --model runs/quickstart/folds/sub01/checkpoint --out pictures --no_face
  aullm explain TALK.mp4 --model YOU/REPOSITORY --out pictures --window 0.5 --aus AU4,AU12 --format pdf
  aullm explain TALK.mp4 --model YOU/REPOSITORY --video WATCH.mp4 --evidence

Each clip has a folder with its pictures; explanation.json in the folder above has all numbers and sentences. The film
strip shows the face: keep the folder as carefully as the clips. With --video, the recording is written again with the
face's box, its AUs as they come and go, and their timeline below; rate, length and sound stay.
With --evidence, a veil shows where the evidence for the active AUs lies.

The exit status is 1 if no clip could be read or a file that was named does not exist."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, EXAMPLES
    shared.add_clips(parser)
    shared.add_model(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--video", type=Path, metavar="FILE", help="one video to watch: its AUs as they come and go")
    parser.add_argument("--evidence", action="store_true", help="of the video: a veil where the evidence lies")
    parser.add_argument("--format", choices=[name[1:] for name in FORMATS], default="png", help="of the pictures")
    parser.add_argument(
        "--aus", default="active", help="which AUs: active (where none is, the likeliest), all, or names: AU4,AU12"
    )
    parser.add_argument(
        "--most", type=int, default=3, metavar="N",
        help="windows explained per recording and face, those with the highest probabilities first",
    )  # fmt: skip
    shared.add_faces(parser)
    shared.add_time(parser)
    shared.add_machine(parser)


def run(options: argparse.Namespace) -> int:
    from ..inference.explaining import check_most, explain_clips, sentences
    from ..inference.output_files import check_output_folder

    shared.check_faces(options)
    if options.out is None and options.video is None:
        raise ValueError("nothing is to be made; give --out FOLDER for pictures, --video FILE to watch, or both")
    if options.evidence and options.video is None:
        raise ValueError("--evidence is drawn into the video; give --video FILE as well (pictures have it always)")
    if options.video is not None and (status := _write_video(options)):
        return status
    if options.out is None:
        return 0
    check_output_folder(options.out)
    check_most(options.most)
    sources = shared.list_sources(options)
    detector = shared.load_detector(options)
    aus = options.aus if options.aus in ("active", "all") else [name.strip() for name in options.aus.split(",")]
    explained = explain_clips(detector, sources, options.out, aus=aus, most=options.most, format=options.format)
    for record in explained["clips"]:
        print(f"\n{escape_control(record['title'])}")
        for line in sentences(record):
            print(f"  {escape_control(line)}")
    failed = sum(bool(record["reason"]) for record in explained["clips"])
    good = len(explained["clips"]) - failed
    made = "Pictures and explanation.json are in" if good else "No picture was made; explanation.json is in"
    left = explained["not_explained"]
    only = f", {counted(left, 'window')} only in the timeline (--most)" if left else ""
    print(f"\n{good} explained, {failed} could not be read{only}. {made} {options.out}.")
    return int(not good or any(source.missing for source in sources))


def _write_video(options: argparse.Namespace) -> int:
    """0 where the video was written; 1 where no frame of it could be read."""
    from ..inference.explained_video import check_video_out, write_explained_video
    from ..inference.output_files import check_output_folder
    from ..inference.reading.windows import DEFAULT_WINDOW

    check_video_out(options.video)
    check_output_folder(options.video.parent)
    sources = shared.list_sources(options)
    if len(sources) != 1:
        raise ValueError(f"--video makes one video of one, but {len(sources)} are named; give one")
    window = DEFAULT_WINDOW if options.window is None else options.window
    detector = shared.load_detector(argparse.Namespace(**vars(options) | {"window": window}))
    rows = write_explained_video(detector, sources[0], options.video, evidence=options.evidence)
    reasons = [reason for reason in rows["reason"] if reason]
    more = f", {len(reasons)} of them not read ({reasons[0]})" if reasons else ""
    print(escape_control(f"{counted(len(rows), 'window')}{more}. The video is {options.video}."))
    return int(len(reasons) == len(rows))


__all__ = ["add_arguments", "run"]
