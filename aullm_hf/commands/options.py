"""Options that several verbs share, and the detector and the sources that they name."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..inference.detecting import AUDetector
    from ..inference.reading.clip_source import ClipSource
    from ..inference.spotting.spotter import ExpressionSpotter

MODEL_HELP = "a folder with a checkpoint, or a repository on the Hub"


def add_clips(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "clips", nargs="+", metavar="CLIP", help="videos, folders, images, patterns in quotes, tables of paths"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help=f"{MODEL_HELP} (default: the checkpoint that comes with the package)")
    add_revision(parser)


def add_revision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--revision", help="branch, tag or commit of the repository")


def add_faces(parser: argparse.ArgumentParser) -> None:
    faces = parser.add_argument_group("faces (default: as the model was trained)")
    faces.add_argument(
        "--face", choices=["align", "follow", "none"],
        help="align: located once per clip, as in training; follow: the crop moves with the head; none: the clips are "
        "cropped to the face",
    )  # fmt: skip
    faces.add_argument("--no_face", action="store_true", help="the same as --face none")
    faces.add_argument("--faces", choices=["largest", "all"], default="largest", help="of a picture with several")
    faces.add_argument("--face_model", metavar="FILE", help="YuNet's .onnx file, where it is not the Hub's")


def add_time(parser: argparse.ArgumentParser) -> None:
    time = parser.add_argument_group("time (default: what lasts over 5 s is read in windows of 0.5 s)")
    time.add_argument("--window", type=float, metavar="SECONDS", help="read in windows of this length; 0: whole")
    time.add_argument("--stride", type=float, metavar="SECONDS", help="from one window to the next (half a window)")
    time.add_argument("--fps", type=float, help="the true frame rate, where files do not say it, or say it wrongly")


def add_device(group: Any) -> None:
    group.add_argument("--device", help="cpu, cuda, ..; the GPU where there is one")


def add_machine(parser: argparse.ArgumentParser) -> Any:
    """The group, to which a verb may add options of its own."""
    machine = parser.add_argument_group("machine")
    add_device(machine)
    machine.add_argument("--dtype", help="of the frozen LLM: float32, bfloat16 or float16")
    return machine


def check_faces(options: argparse.Namespace) -> None:
    if options.no_face and options.face not in (None, "none"):
        raise ValueError(f"--no_face and --face {options.face} contradict each other")


def load_detector(options: argparse.Namespace) -> "AUDetector":
    """The model with all that the options above say; what a verb has no option for is the detector's default."""
    from ..inference.detecting import AUDetector

    names = ("revision", "device", "dtype", "face", "faces", "face_model", "window", "stride", "fps", "batch_size",
             "workers")  # fmt: skip
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    if getattr(options, "no_face", False):
        given["face"] = "none"
    return AUDetector(options.model, **given)


def load_spotter(options: argparse.Namespace) -> "ExpressionSpotter":
    """What finds expressions in recordings, with all that the options say of faces and time."""
    from ..inference.spotting.spotter import ExpressionSpotter

    names = ("face", "faces", "face_model", "fps", "threshold")
    given = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    if getattr(options, "no_face", False):
        given["face"] = "none"
    return ExpressionSpotter(**given)


def list_sources(options: argparse.Namespace) -> list["ClipSource"]:
    """What the command line names; images in the order of their numbers, not in the shell's (img1, img10, img2)."""
    from ..data.reading.folders import IMAGE_SUFFIXES, natural_key
    from ..inference.reading.sources import expand_sources

    clips = options.clips
    if all(Path(clip).suffix.lower() in IMAGE_SUFFIXES for clip in clips):
        clips = sorted(clips, key=natural_key)
    return list(expand_sources(clips, options.fps))
