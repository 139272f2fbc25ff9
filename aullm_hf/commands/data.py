"""`aullm data`: check, build and preview clips."""

import argparse
import sys
from pathlib import Path

from ..data.annotations import EITHER, REF, STATIC
from ..data.errors import DataError

EXAMPLES = """examples:
  aullm data check casme2 /data/CASME2               (everything wrong with a copy, in one run)
  aullm data check samm /data/SAMM --json samm.json --face align
  aullm data build casme2 /data/CASME2 --face none   (decode, crop and cache; --out writes it out as well)
  aullm data preview synthetic --out preview.png     (film strips of clips, to see what a model sees)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, EXAMPLES
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="list everything that is wrong with a copy of a data set")
    check.add_argument("--json", metavar="OUT", help="also write the findings as JSON; - for standard output only")
    build = commands.add_parser("build", help="decode, crop and cache")
    build.add_argument("--out", help="also write there: a folder, or a .parquet file")
    build.add_argument("--on-error", choices=("raise", "skip"), default="raise")
    build.add_argument("--size", type=int, default=64)
    build.add_argument("--fit", choices=("pad", "crop"), default="pad")
    build.add_argument("--cache-dir")
    build.add_argument("--rebuild", action="store_true")
    for command, face in ((check, "none"), (build, "align")):
        command.add_argument("name", help="casme2, samm, casme, mmew, 4dme, casme3, smic or own")
        command.add_argument("root", help="the folder it was unpacked into")
        command.add_argument("--either", choices=EITHER, default="literature", help="what 'R12 or R14' means")
        command.add_argument("--ref", choices=REF, default="keep", help="whether ref(..) counts")
        command.add_argument("--static", choices=STATIC, default="drop", help="whether 4DME's (k) counts")
        command.add_argument("--no-corrections", action="store_true")
        command.add_argument("--face", choices=("align", "none"), default=face)
        command.add_argument("--face-model")
        command.add_argument("--table", help="which table, where the root holds several")
        command.add_argument("--images", help="which image folder, where the root holds several")
        command.add_argument("--workers", type=int)
        command.add_argument("--dataset-name", default="own")
    preview = commands.add_parser("preview", help="draw clips as film strips")
    preview.add_argument("name", help="a data set, or a folder of clips")
    preview.add_argument("root", nargs="?")
    preview.add_argument("--out", required=True)
    preview.add_argument("--clips", type=int, default=6, help="how many clips are drawn")
    preview.add_argument("--clip", action="append", metavar="CLIP_ID", help="draw this clip (may be repeated)")
    preview.add_argument(
        "--amplitude", type=float, default=1.0, help="multiplies the motion, so that a person sees it"
    )
    preview.add_argument("--difficulty", default="easy", help="of synthetic clips: easy, standard or hard")
    preview.add_argument("--face", choices=("align", "none"), default="align")
    preview.add_argument("--size", type=int, default=128)
    preview.add_argument("--on-error", choices=("raise", "skip"), default="skip")
    preview.add_argument("--cache-dir")


def run(options: argparse.Namespace) -> int:
    try:
        return {"check": _check, "build": _build, "preview": _preview}[options.command](options)
    except DataError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _policies(options: argparse.Namespace) -> dict:
    return {
        "either": options.either,
        "ref": options.ref,
        "static": options.static,
        "corrections": not options.no_corrections,
        "table": options.table,
        "images": options.images,
        "workers": options.workers,
        "face": options.face,
        "face_model": options.face_model,
        "dataset_name": options.dataset_name,
    }


def _check(options: argparse.Namespace) -> int:
    from ..data.checks import check_clips

    outcome = check_clips(options.name, options.root, **_policies(options))
    if options.json == "-":
        print(outcome.to_json())
    else:
        print(outcome)
        if options.json:
            Path(options.json).write_text(outcome.to_json() + "\n", encoding="utf-8")
    return 0 if outcome.ok else 1


def _build(options: argparse.Namespace) -> int:
    from ..data.exporting import to_parquet
    from ..data.loading import load_clips
    from ..data.report import report_of

    dataset = load_clips(
        options.name,
        options.root,
        on_error=options.on_error,
        size=options.size,
        fit=options.fit,
        cache_dir=options.cache_dir,
        rebuild=options.rebuild,
        **_policies(options),
    )
    print(report_of(dataset))
    if options.out and options.out.endswith(".parquet"):
        to_parquet(dataset, options.out)
    elif options.out:
        dataset.save_to_disk(options.out)
    return 0


def _preview(options: argparse.Namespace) -> int:
    from ..data.loading import load_clips
    from ..data.preview import plot_clips

    common = {"size": options.size, "cache_dir": options.cache_dir}
    amplitude = options.amplitude
    if options.name == "synthetic":  # the synthetic face itself can move more, which looks better than a difference
        each = -(-options.clips // 3)
        more = {"subjects": 3, "clips_per_subject": each, "difficulty": options.difficulty, "amplitude": amplitude}
        dataset, amplitude = load_clips("synthetic", **common, **more), 1.0
    else:
        more = {"face": options.face, "on_error": options.on_error}
        dataset = load_clips(options.name, options.root, **common, **more)
    chosen = options.clip or options.clips
    plot_clips(dataset, options.out, clips=chosen, amplitude=amplitude)
    print(f"{options.out}: {len(options.clip) if options.clip else min(options.clips, len(dataset))} clips")
    return 0
