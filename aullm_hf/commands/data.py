"""Check a copy of a data set, build its clips, or draw some of them; read other tools' tables."""

import argparse
import sys
from pathlib import Path

from ..data.annotations import EITHER, REF, STATIC
from ..data.errors import DataError

FACE, FIT, ON_ERROR = ("align", "none"), ("pad", "crop"), ("raise", "skip")
TABLE_HELP = "a .csv or .tsv of OpenFace 2 or 3, py-feat, LibreFace, or with MediaPipe's blendshapes"
EXAMPLES = """examples:
  aullm data check casme2 CASME2_FOLDER              (all problems of a copy, in one run)
  aullm data check samm SAMM_FOLDER --json samm.json --face align
  aullm data build casme2 CASME2_FOLDER --face none  (decode, crop and cache; --out also exports the clips)
  aullm data preview synthetic --out preview.png     (film strips of some clips)
  aullm data convert OPENFACE.csv --out frames.csv   (another tool's table, with this package's column names)
  aullm data compare aus.csv OPENFACE.csv --out agreement  (a prediction with it, AU by AU)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, EXAMPLES
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="list all problems of a copy of a data set")
    check.add_argument("--json", metavar="OUT", help="also write the result as JSON; - prints the JSON only")
    build = commands.add_parser("build", help="decode, crop and cache the clips")
    build.add_argument("--out", help="also export the clips: to a folder, or to a .parquet file")
    build.add_argument("--size", type=int, default=64, help="pixels per side of the frames (64)")
    build.add_argument("--fit", choices=FIT, default="pad", help="how a frame becomes square with --face none (pad)")
    build.add_argument("--rebuild", action="store_true", help="build again what is in the cache")
    for command, face in ((check, "none"), (build, "align")):
        command.add_argument("name", help="casme2, samm, casme, mmew, 4dme, casme3, smic or own")
        command.add_argument("root", help="the folder that the data set was unpacked into")
        command.add_argument("--either", choices=EITHER, default="literature", help="what 'R12 or R14' means")
        command.add_argument("--ref", choices=REF, default="keep", help="whether AUs written as ref(..) count")
        command.add_argument("--static", choices=STATIC, default="drop", help="whether 4DME's (k), a held AU, counts")
        command.add_argument(
            "--no-corrections", action="store_true", help="leave known errors of the table as they are"
        )
        command.add_argument("--table", help="which table to read, where the root holds several")
        command.add_argument("--images", help="which image folder to read, where the root holds several")
        command.add_argument("--workers", type=int, help="threads (one per core, at most 16)")
        command.add_argument("--dataset-name", default="own", help="the name of your own data set (own)")
        _add_face(command, face)
    preview = commands.add_parser("preview", help="draw clips as film strips")
    preview.add_argument("name", help="a data set, synthetic, or a folder of clips")
    preview.add_argument("root", nargs="?", help="the folder that the data set was unpacked into")
    preview.add_argument("--out", required=True, help="the image file to write")
    preview.add_argument("--clips", type=int, default=6, help="how many clips are drawn")
    preview.add_argument("--clip", action="append", metavar="CLIP_ID", help="draw this clip (may be repeated)")
    preview.add_argument("--amplitude", type=float, default=1.0, help="multiplies the motion, to make it visible (1)")
    preview.add_argument(
        "--difficulty", default="easy", help="of synthetic clips: easy, standard, hard or wild (easy)"
    )
    preview.add_argument("--size", type=int, default=128, help="pixels per side of the frames (128)")
    _add_face(preview, "align")
    convert = commands.add_parser("convert", help="another tool's table as frames with this package's column names")
    convert.add_argument("table", help=TABLE_HELP)
    convert.add_argument("--out", required=True, type=Path, help="the table: .parquet, .csv, .json or .jsonl")
    compare = commands.add_parser("compare", help="how far a prediction agrees with another tool's table")
    compare.add_argument("prediction", type=Path, help="what `aullm predict --out` wrote, best with --window")
    compare.add_argument("table", help=TABLE_HELP)
    compare.add_argument("--out", required=True, type=Path, help="a folder for the tables and a figure per video")
    for command in (convert, compare):
        command.add_argument("--fps", type=float, help="frames per second, where the table has no times")
    for command, on_error in ((build, "raise"), (preview, "skip")):
        command.add_argument("--on-error", choices=ON_ERROR, default=on_error, help=f"unusable clips ({on_error})")
        command.add_argument("--cache-dir", help="where built clips are kept (the cache of `datasets`)")


def _add_face(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument(
        "--face", choices=FACE, default=default, help=f"find the face and crop to it, or take frames whole ({default})"
    )
    command.add_argument("--face-model", help="YuNet's .onnx file (AULLM_FACE_MODEL, else the Hub's)")


def run(options: argparse.Namespace) -> int:
    try:
        return COMMANDS[options.command](options)
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
    from ..data.exporting import save_clips, to_parquet
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
        save_clips(dataset, options.out)
    return 0


def _preview(options: argparse.Namespace) -> int:
    from ..data.loading import load_clips
    from ..data.preview import plot_clips

    common = {"size": options.size, "cache_dir": options.cache_dir}
    amplitude = options.amplitude
    if options.name == "synthetic":  # a synthetic face can move more itself, which looks better
        each = -(-options.clips // 3)
        more = {"subjects": 3, "clips_per_subject": each, "difficulty": options.difficulty, "amplitude": amplitude}
        dataset, amplitude = load_clips("synthetic", **common, **more), 1.0
    else:
        more = {"face": options.face, "face_model": options.face_model, "on_error": options.on_error}
        dataset = load_clips(options.name, options.root, **common, **more)
    chosen = options.clip or options.clips
    plot_clips(dataset, options.out, clips=chosen, amplitude=amplitude)
    print(f"{options.out}: {len(options.clip) if options.clip else min(options.clips, len(dataset))} clips")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from ..data.reading.other_tools import read_tool_table
    from ..inference.formats import WRITERS
    from ..inference.journal import check_output_file
    from ..whole_files import replacing

    check_output_file(options.out)
    frames = read_tool_table(options.table, fps=options.fps)
    with replacing(options.out) as part:
        WRITERS[options.out.suffix.lower()](part, iter([frames]))
    aus = [name for name in frames if "_AU" in name]
    print(f"{options.out}: {len(frames)} frames of {frames['tool'].iloc[0]}, columns {', '.join(aus)}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from ..data.reading.other_tools import read_tool_table
    from ..evaluation.agreement import compare_with_tool, videos_of_both
    from ..inference.formats import escape_formulas, read_table
    from ..inference.pictures.drawing import save_figure
    from ..inference.pictures.tool_timeline import tool_timeline
    from ..whole_files import replacing

    prediction, frames = read_table(options.prediction), read_tool_table(options.table, fps=options.fps)
    found = compare_with_tool(prediction, frames)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, table in (("agreement.csv", found.table), ("windows.csv", found.windows)):
        with replacing(options.out / name) as part:
            escape_formulas(table).to_csv(part, index=False)
    text = found.to_markdown()
    (options.out / "agreement.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    for rows, of_tool in videos_of_both(prediction, frames):
        name = Path(rows["source"].iloc[0]).stem
        save_figure(tool_timeline(rows, of_tool, title=name), options.out / f"{name}.png")
    return 0


COMMANDS = {"check": _check, "build": _build, "preview": _preview, "convert": _convert, "compare": _compare}
