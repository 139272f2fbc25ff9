"""Check a data set before an experiment rests on it: every problem in one run, as a table and as JSON."""

import json
from dataclasses import asdict, dataclass, field

from .builder import check_frames, gray_frames, map_clips, problem_of, progress
from .errors import DOUBT, ERROR, NOTE, DataError, FaceError, Problem
from .faces import FaceFinder, FaceRecipe, first_face, to_gray
from .labels import PUBLISHED_AUS
from .loading import read_raw_dataset, resolve_face_options
from .published.counts import PUBLISHED_COUNTS, PublishedCounts
from .reading.records import Policies, RawDataset
from .report import Report
from .threads import default_workers


@dataclass
class CheckResult:
    """What was found below one root; `ok` is False where clips are unusable."""

    report: Report
    known: PublishedCounts | None = None
    counted: list[dict] = field(default_factory=list)  # what, found, known

    @property
    def ok(self) -> bool:
        return not self.report.skipped

    def to_dict(self) -> dict:
        levels = {level: len(self.report.of_level(level)) for level in (ERROR, DOUBT, NOTE)}
        known = asdict(self.known) if self.known else None
        return {"ok": self.ok, "levels": levels, **self.report.to_dict(), "known": known, "counted": self.counted}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2, default=str)

    def __str__(self) -> str:
        report = self.report
        lines = [f"{report.title}: {report.release}"]
        lines += [f"{name}: {value}" for name, value in (("table", report.table), ("frames", report.images)) if value]
        if self.counted:
            beside = f"known ({self.known.release})" if self.known else "known"
            rows = [("counted", "found", beside, "")]
            rows += [
                (entry["what"], str(entry["found"]), _or_blank(entry["known"]), "" if entry["agrees"] else "differs")
                for entry in self.counted
            ]
            widths = [max(len(row[at]) for row in rows) for at in range(3)]
            lines.append("")
            for what, found, known, differs in rows:
                line = f"{what:<{widths[0]}}  {found:>{widths[1]}}  {known:>{widths[2]}}  {differs}"
                lines.append(line.rstrip())
        for title, problems in (
            ("unusable", report.skipped),
            ("doubtful, loaded as it is", report.doubts),
            ("noted", report.notes),
        ):
            lines += ["", f"{title}: {len(problems)}", *(f"  {problem.kind}: {problem}" for problem in problems)]
        if report.corrections:
            lines += ["", f"corrected: {len(report.corrections)}"]
            lines += [
                f"  {c['id']}: {c['field']} {c['faulty']} -> {c['value']}, {c['reason']}" for c in report.corrections
            ]
        if not self.ok and report.licence:
            lines += ["", report.licence]
        lines += ["", "all clips can be used" if self.ok else "some clips cannot be used"]
        return "\n".join(lines)


def _or_blank(value: object) -> str:
    return "" if value is None else str(value)


def check_clips(
    name: str,
    root,
    *,
    face: str = "none",
    face_model=None,
    workers: int | None = None,
    dataset_name: str = "own",
    **policies,
) -> CheckResult:
    """Read the table, match the folders and decode every frame; with face="align", find the faces as well.

    Nothing is raised for bad data: where nothing can be read, that is the report's only problem.

    Args:
        name: "casme2", "samm", "casme", "mmew", "4dme", "casme3", "smic" or "own".
        root: the folder that the data set was unpacked into.
        face: "align" also finds the face of every clip; "none" leaves that out.
        face_model: the path of YuNet's .onnx file, for face="align".
        workers: threads; by default one per core, at most 16.
        dataset_name: what your own clips are called, for "own".
        policies: `either`, `ref`, `static`, `corrections`, `table` and `images`, as in `load_clips`.

    Returns:
        a `CheckResult`: print it, read `.ok` and `.report`, or write `.to_json()`.

    Example, on a folder that holds no data set:

    ```python
    >>> from aullm_hf.data import check_clips
    >>> result = check_clips("casme2", ".")
    >>> result.ok, result.report.skipped[0].kind
    (False, 'table')

    ```
    """
    choice = Policies(**policies)
    workers = workers or default_workers()
    recipe, finder = resolve_face_options(face=face, size=64, face_model=face_model)
    try:
        raw = read_raw_dataset(name, root, choice, dataset_name)
    except DataError as error:
        problems = list(error.problems) or [Problem(ERROR, "table", str(error), file=str(root))]
        return CheckResult(Report(dataset=name, title=name, release="not recognised", problems=problems))
    failed = check_frames(raw, workers)
    if finder is not None:
        unread = {problem.clip for problem in failed}
        failed += _check_faces(raw, recipe, finder, workers, unread)
    unusable = {(problem.clip, problem.row) for problem in failed}
    usable = [record for record in raw.records if (record.name, record.row) not in unusable]
    chosen = {name: value for name, value in asdict(choice).items() if value is not None}
    report = Report.about(raw, chosen, recipe, [*raw.problems, *failed]).count(usable)
    known = PUBLISHED_COUNTS.get(raw.name)
    return CheckResult(report, known, _compare_counts(report, known))


def _check_faces(raw: RawDataset, recipe: FaceRecipe, finder: FaceFinder, workers: int, unread: set) -> list[Problem]:
    def find_face(record):
        try:
            first_face(map(to_gray, gray_frames(record, raw)), recipe, finder)
        except FaceError as error:
            return problem_of(error, record)
        return None

    records = [record for record in raw.records if record.name not in unread]
    return [p for p in progress(map_clips(find_face, records, workers), len(records), f"{raw.title}: faces") if p]


def _compare_counts(report: Report, known: PublishedCounts | None) -> list[dict]:
    """Found and published counts, one entry each: rows, subjects, clips per subject, AUs, emotions."""
    known = known or PublishedCounts(release="")
    lines: list[dict] = []

    def line(what: str, found: object, expected: object) -> None:
        agrees = expected is None or found == expected
        lines.append({"what": what, "found": found, "known": expected, "agrees": agrees})

    line("rows", report.rows, known.rows)
    line("clips", report.clips, known.rows)
    line("subjects", len(report.subjects), known.subjects)
    line("frames", report.frames, None)
    for subject in sorted({*report.subjects, *known.clips_per_subject}):
        line(f"subject {subject}", report.subjects.get(subject, 0), known.clips_per_subject.get(subject))
    listed = PUBLISHED_AUS.get(report.dataset, ())
    for number in sorted({*report.aus, *known.aus, *listed}):
        mark = " *" if number in listed else ""
        line(f"AU{number}{mark}", report.aus.get(number, 0), known.aus.get(number))
    if report.marked:
        line("AUs with an intensity", sum(report.marked.values()), None)
    for emotion in sorted({*report.emotions, *known.emotions}):
        line(f"emotion {emotion}", report.emotions.get(emotion, 0), known.emotions.get(emotion))
    return lines
