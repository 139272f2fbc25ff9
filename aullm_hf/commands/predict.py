"""`aullm predict`: clips to a table: a probability, an activity and a threshold per AU."""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arguments import counted
from ..data.errors import escape_control
from . import options as shared

if TYPE_CHECKING:
    from ..inference.detecting import AUDetector
    from ..inference.reading.clip_source import ClipSource
    from ..inference.spotting.naming import SpottedFaces
    from ..inference.summary import Summary

EXAMPLES = """examples:
  aullm predict CLIP.mp4                          (with the checkpoint that comes with the package)
  aullm predict CLIPS_FOLDER --model YOU/REPOSITORY --out aus.parquet
  aullm predict CLIP.mp4 FRAMES_FOLDER --model runs/quickstart/folds/sub01/checkpoint --no_face
  aullm predict "TALKS/*.mp4" --model YOU/REPOSITORY --out aus.csv --window 0.5 --stride 0.25 --faces all
  aullm predict CLIPS.csv --model YOU/REPOSITORY --out aus.json --fps 200
  aullm predict RECORDING.mp4 --model YOU/REPOSITORY --out aus.csv --spot

A clip is a video file, a folder of numbered images, or images; a folder of those, a "pattern", or a table (.csv,
.xlsx, .parquet) with a column path and optionally start, end (seconds), onset, offset (frame numbers) and fps names
many; its other columns are carried to the results. Every clip has a row; where nothing could be predicted its column
`reason` says why. The same command again continues where it was stopped, and adds what is new. Without --out the
active AUs are listed, by name. With --spot, clips are the expressions that are spotted in recordings, each from its
own onset to its offset; all that was spotted, and what could not be looked at, is kept in aus.spotted.csv.

The exit status is 1 if nothing could be read or a file that was named does not exist; with --strict, if any row has a
reason."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, EXAMPLES
    shared.add_clips(parser)
    shared.add_model(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the table: .parquet, .csv, .json or .jsonl")
    parser.add_argument("--names", action="store_true", help="one row per clip and AU, with the AU's name and muscle")
    parser.add_argument(
        "--spot", action="store_true", help="one row per expression found, from its onset to its offset"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results made with other settings")
    parser.add_argument("--strict", action="store_true", help="exit status 1 if any row has a reason")
    shared.add_faces(parser)
    shared.add_time(parser)
    machine = shared.add_machine(parser)
    machine.add_argument("--batch_size", type=int, default=32, help="clips the model reads at once")
    machine.add_argument(
        "--workers", type=int, help="threads that read while the model works (default: all cores but one, at most 8)"
    )


def run(options: argparse.Namespace) -> int:
    from ..inference.journal import check_output_file
    from ..inference.summary import Summary

    shared.check_faces(options)
    if options.out:
        check_output_file(options.out)
    if options.spot and (options.window or options.stride):
        raise ValueError("--spot finds where clips begin and end; leave --window and --stride out")
    listed = shared.list_sources(options)
    detector = shared.load_detector(options)
    if options.spot:
        listed = _spotted(options, detector, listed)
    summary = Summary(listed)
    if options.out is None:
        _print_rows(options, detector, summary)
    elif not _write_results(options, detector, summary):
        return 130
    print(escape_control(summary.text(options.out)), file=sys.stderr)
    return summary.exit_status(options.strict)


def _spotted(options: argparse.Namespace, detector: "AUDetector", listed: list["ClipSource"]) -> list["ClipSource"]:
    """The expressions in recordings, as clips; with a place for results, they are kept beside them."""
    from ..inference.spotting.journal import SpottedResults
    from ..inference.spotting.naming import clips_of_expressions
    from ..inference.spotting.spotter import ExpressionSpotter, table_of_rows

    crops = detector.reader.crop.recipe.face == "none"
    spotter = ExpressionSpotter(
        face="none" if crops else "align", faces=options.faces, fps=options.fps, face_model=options.face_model
    )
    clips: list[ClipSource] = []
    with ExitStack() as stack:
        results = None
        if options.out:
            kept = options.out.with_name(f"{options.out.stem}.spotted{options.out.suffix}")
            results = stack.enter_context(SpottedResults(kept, spotter.settings, overwrite=options.overwrite))
        for source in listed:
            if source.ignored:
                clips.append(source)
            elif results:
                clips += clips_of_expressions(source, results.spot(spotter, source))
            else:
                rows = [row for part in spotter.spot_parts(source) for row in part.rows]
                clips += clips_of_expressions(source, table_of_rows(rows))
        if results:
            results.write()
    return clips


def _faces_of(options: argparse.Namespace, detector: "AUDetector") -> "AUDetector | SpottedFaces":
    """What computes rows: with --spot, those of the face that an expression is of."""
    from ..inference.spotting.naming import SpottedFaces

    return SpottedFaces(detector) if options.spot else detector


def _print_rows(options: argparse.Namespace, detector: "AUDetector", summary: "Summary") -> None:
    from ..inference.summary import lines_of

    with _progress(len(summary.sources)) as progress:
        for _, rows in _faces_of(options, detector).detect_each(summary.sources):
            progress.update()
            summary.add(rows)
            with progress.external_write_mode(sys.stdout):
                print(
                    "\n".join(map(escape_control, lines_of(rows, detector.labels, shown=detector.warning))),
                    flush=True,
                )


def _write_results(options: argparse.Namespace, detector: "AUDetector", summary: "Summary") -> bool:
    """Whether the results were written: not if the user stopped it."""
    from ..inference.journal import Results

    settings = detector.settings | ({"spot": True} if options.spot else {})
    with Results(options.out, settings, detector.labels, overwrite=options.overwrite) as results:
        there, missing = results.compare(summary.sources)
        summary.add_earlier(there)
        try:
            with _progress(len(summary.sources), len(there)) as progress:
                for rows in results.detect(_faces_of(options, detector), missing):
                    summary.add(rows)
                    progress.update()
        except KeyboardInterrupt:
            kept = len(there) + sum(key in results.entries for key in missing)
            print(
                f"\nStopped: the rows of {kept} of {counted(len(summary.sources), 'source')} are kept in "
                f"{results.journal}; the same command continues from there.",
                file=sys.stderr,
            )
            return False
        summary.rows = results.write(named=options.names)
        return True


def _progress(count: int, there: int = 0) -> Any:
    from tqdm import tqdm

    return tqdm(total=count, initial=there, unit=" sources", file=sys.stderr, disable=None, dynamic_ncols=True)
