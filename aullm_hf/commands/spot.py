"""`aullm spot`: long recordings to the expressions in them: onset, apex, offset, and what could not be looked at."""

import argparse
import sys
from pathlib import Path

from ..arguments import counted
from ..data.errors import escape_control
from . import options as shared

EXAMPLES = """examples:
  aullm spot VIDEO.mp4
  aullm spot "TALKS/*.mp4" --out expressions.csv --timeline PICTURES_FOLDER
  aullm spot VIDEO.mp4 --out expressions.parquet --faces all
  aullm spot CROPS_FOLDER --no_face --fps 200 --out expressions.json

Every expression has a row: onset, apex and offset in frames and seconds, a score, micro (up to half a second) or
longer, and whose face. What could not be looked at (no face, a head turned away, a cut) is a row with its reason. No
model is needed. The same command again continues where it was stopped, within a recording too.

The exit status is 1 if nothing could be read or a file that was named does not exist; with --strict, if a recording
could not be read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, EXAMPLES
    shared.add_clips(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the table: .parquet, .csv, .json or .jsonl")
    parser.add_argument("--timeline", type=Path, metavar="FOLDER", help="a picture of each recording")
    parser.add_argument("--overwrite", action="store_true", help="replace results made with other settings")
    parser.add_argument("--strict", action="store_true", help="exit status 1 if a recording could not be read")
    parser.add_argument(
        "--threshold", type=float, help="of the score, 0 to 1: lower finds more, also more that is none"
    )
    parser.add_argument("--fps", type=float, help="the true frame rate, where files do not say it, or say it wrongly")
    faces = parser.add_argument_group("faces (default: looked for where the face detector is at hand)")
    faces.add_argument("--face", choices=["align", "none"], help="align: in whole pictures; none: frames are crops")
    faces.add_argument("--no_face", action="store_true", help="the same as --face none")
    faces.add_argument("--faces", choices=["largest", "all"], default="largest", help="of a picture with several")
    faces.add_argument("--face_model", metavar="FILE", help="YuNet's .onnx file, where it is not the Hub's")


def run(options: argparse.Namespace) -> int:
    from ..inference.journal import check_output_file
    from ..inference.output_files import check_output_folder
    from ..inference.spotting.spotter import table_of_rows

    shared.check_faces(options)
    if options.out:
        check_output_file(options.out)
    if options.timeline:
        check_output_folder(options.timeline)
        from ..inference.pictures.drawing import new_figure

        new_figure(1, 1)  # without matplotlib it is said now
    sources = [source for source in shared.list_sources(options) if not source.ignored]
    spotter = shared.load_spotter(options)
    failed, expressions, hidden = 0, 0, 0
    if options.out:
        from ..inference.spotting.journal import SpottedResults

        with SpottedResults(options.out, spotter.settings, overwrite=options.overwrite) as results:
            tables = (results.spot(spotter, source) for source in sources)
            failed, expressions, hidden = _tell(options, sources, tables)
            results.write()
    else:
        tables = (
            table_of_rows([row for part in spotter.spot_parts(source) for row in part.rows]) for source in sources
        )
        failed, expressions, hidden = _tell(options, sources, tables)
    told = f"{counted(len(sources), 'source')}: {counted(expressions, 'expression')}, {hidden} not looked at"
    told += f", {failed} could not be read" if failed else ""
    print(escape_control(told + (f" -> {options.out}" if options.out else "")), file=sys.stderr)
    missing = any(source.missing for source in sources)
    return int(failed == len(sources) or missing or (options.strict and failed > 0))


def _tell(options: argparse.Namespace, sources, tables) -> tuple[int, int, int]:
    """(recordings that could not be read, expressions, spans that were not looked at), printed as they come."""
    failed = expressions = hidden = 0
    for source, table in zip(sources, tables, strict=True):
        unread = table["onset"].isna()
        failed += int(unread.any())
        expressions += int((table["reason"] == "").sum())
        hidden += int(((table["reason"] != "") & ~unread).sum())
        if not options.out or unread.any():
            for line in lines_of(table[unread] if options.out else table):
                print(escape_control(line), flush=True)
        if options.timeline and table["end"].notna().any():
            _draw_timeline(options.timeline, source.name, table)
    return failed, expressions, hidden


def lines_of(table) -> list[str]:
    """One line per row, for a terminal."""
    lines = []
    for row in table.to_dict("records"):
        if row["start"] != row["start"]:
            lines.append(f"{row['source']}: not read: {row['reason']}")
            continue
        face = f"  face {row['face_id']}" if row["face_id"] else ""
        span = f"{row['source']}  {row['start']:.2f}-{row['end']:.2f} s  frames {row['onset']}-{row['offset']}{face}"
        about = f"{row['kind']}, apex {row['peak']:.2f} s, score {row['score']:.2f}"
        lines.append(f"{span}: not looked at: {row['reason']}" if row["reason"] else f"{span}: {about}")
    return lines


def _draw_timeline(folder: Path, name: str, table) -> None:
    from ..inference.pictures.drawing import save_figure
    from ..inference.pictures.spotted_timeline import spotted_timeline

    stem = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in Path(name).stem)[:80]
    path, number = folder / f"{stem or 'recording'}.png", 2
    while path.exists():
        path, number = folder / f"{stem}_{number}.png", number + 1
    save_figure(spotted_timeline(table, title=name), path)


__all__ = ["add_arguments", "lines_of", "run"]
