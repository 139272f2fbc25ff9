"""Results on disk: the same command goes on, nothing half written counts, nothing is overwritten unasked."""

import errno
import json

import numpy as np
import pandas as pd
import pytest

from aullm_hf.inference import formats, journal, output_files
from aullm_hf.inference.journal import Results, journal_path
from aullm_hf.inference.output_files import OutputError
from aullm_hf.inference.reading.sources import expand_sources
from support.videos import noise, write_video

SETTINGS = {"model": "m", "window": None}


@pytest.fixture
def sources(tmp_path):
    for at in range(4):
        write_video(tmp_path / "clips" / f"{at} ä.mkv", noise(8, seed=at))
    (tmp_path / "clips" / "2.mp4").touch()
    return list(expand_sources(tmp_path / "clips"))


@pytest.fixture(scope="module")
def detector(make_detector):
    return make_detector()


def fill(out, sources, detector, settings=SETTINGS, **options) -> list[str]:
    """Compute what is not there yet; the names of what was computed."""
    with Results(out, settings, detector.labels, **options) as results:
        _, missing = results.compare(sources)
        computed = [rows["source"].iloc[0] for rows in results.detect(detector, missing)]
        results.write()
    return computed


READ = {
    ".csv": pd.read_csv,
    ".parquet": pd.read_parquet,
    ".json": lambda path: pd.DataFrame(json.loads(path.read_text())),
    ".jsonl": lambda path: pd.read_json(path, lines=True),
}


@pytest.mark.parametrize("suffix", formats.WRITERS)
def test_every_format_holds_the_same_table(tmp_path, sources, detector, suffix, monkeypatch):
    monkeypatch.setattr(journal, "ROWS_AT_ONCE", 2)  # in several pieces
    out = tmp_path / f"a b{suffix}"
    fill(out, sources, detector)
    expected = pd.concat(rows for _, rows in detector.detect_each(sources))
    table = READ[suffix](out)
    assert list(table.columns) == list(expected.columns)
    assert table["source"].tolist() == expected["source"].tolist()
    assert table["reason"].fillna("").tolist() == expected["reason"].tolist()
    for name in ("p_AU4", "start", "fps", "threshold_AU12"):
        np.testing.assert_allclose(table[name].astype(float), expected[name].astype(float), rtol=1e-12)
    assert [None if pd.isna(v) else bool(v) for v in table["active_AU4"]] == [
        None if pd.isna(v) else bool(v) for v in expected["active_AU4"]
    ]


def test_the_same_command_computes_nothing_again_and_adds_what_is_new(tmp_path, sources, detector):
    out = tmp_path / "aus.csv"
    assert len(fill(out, sources, detector)) == 5
    first = out.read_bytes()
    assert fill(out, sources, detector) == [] and out.read_bytes() == first
    write_video(tmp_path / "clips" / "new.mkv", noise(8, seed=9))
    later = list(expand_sources(tmp_path / "clips"))
    assert [name.rsplit("/", 1)[1] for name in fill(out, later, detector)] == ["new.mkv"]
    assert len(pd.read_csv(out)) == 6


@pytest.mark.parametrize("lost", [1, 5, 40, 400])
def test_a_run_killed_while_writing_goes_on_before_the_broken_line(tmp_path, sources, detector, lost):
    out = tmp_path / "aus.csv"
    fill(out, sources, detector)
    whole = out.read_bytes()
    journal = journal_path(out)
    data = journal.read_bytes()
    journal.write_bytes(data[:-lost])  # the last line is not whole any more
    out.unlink()
    assert [name.rsplit("/", 1)[1] for name in fill(out, sources, detector)] == [sources[-1].name.rsplit("/", 1)[1]]
    assert out.read_bytes() == whole


def test_a_broken_line_in_the_middle_is_computed_again(tmp_path, sources, detector):
    out = tmp_path / "aus.csv"
    fill(out, sources, detector)
    lines = journal_path(out).read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][: len(lines[2]) // 2] + b"\n"
    journal_path(out).write_bytes(b"".join(lines))
    assert len(fill(out, sources, detector)) == 1
    assert sorted(pd.read_csv(out)["source"]) == sorted(source.name for source in sources)


def test_a_file_that_changed_is_computed_again_in_its_place(tmp_path, sources, detector):
    out = tmp_path / "aus.csv"
    fill(out, sources, detector)
    before = pd.read_csv(out)
    write_video(tmp_path / "clips" / "1 ä.mkv", noise(9, seed=77))
    assert [name.rsplit("/", 1)[1] for name in fill(out, sources, detector)] == ["1 ä.mkv"]
    after = pd.read_csv(out)
    assert after["source"].tolist() == before["source"].tolist()
    changed = (after["p_AU4"] != before["p_AU4"]) & after["p_AU4"].notna()
    assert after.loc[changed, "source"].str.endswith("1 ä.mkv").all() and changed.sum() == 1


def test_the_same_file_twice_has_two_rows(tmp_path, sources, detector):
    out = tmp_path / "aus.csv"
    fill(out, [sources[0], sources[0]], detector)
    assert len(pd.read_csv(out)) == 2
    assert fill(out, [sources[0], sources[0]], detector) == []


def test_results_made_otherwise_are_not_touched(tmp_path, sources, detector):
    out = tmp_path / "aus.csv"
    fill(out, sources, detector)
    before = out.read_bytes()
    with pytest.raises(OutputError, match=r"model was 'm' and is 'other'.*--out.*--overwrite"):
        fill(out, sources, detector, {**SETTINGS, "model": "other"})
    with pytest.raises(OutputError, match="AUs was"):
        Results(out, SETTINGS, ["AU1"])
    assert out.read_bytes() == before
    assert len(fill(out, sources, detector, {**SETTINGS, "model": "other"}, overwrite=True)) == 5


def test_a_strangers_file_is_not_touched(tmp_path, sources, detector):
    out = tmp_path / "aus.csv"
    out.write_text("subject,joy\n1,2\n")
    with pytest.raises(OutputError, match=r"exists, and aus.csv.journal.jsonl.*does not"):
        fill(out, sources, detector)
    journal_path(out).write_text('{"something": "else"}\n')
    with pytest.raises(OutputError, match="is no journal of results"):
        fill(out, sources, detector)
    assert out.read_text() == "subject,joy\n1,2\n"


def test_places_that_cannot_be_written_are_refused_at_once(tmp_path):
    for name, said in (("aus.xls", r"'.xls'; results are one of .csv, .parquet"), ("aus", "nothing")):
        with pytest.raises(OutputError, match=said):
            journal.check_output_file(tmp_path / name)
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        journal.check_output_file(tmp_path / "d.csv")
    (tmp_path / "notes").touch()
    for below in ("notes/aus.csv", "notes/new/aus.csv"):
        with pytest.raises(OutputError, match="notes is a file, so nothing can be written below it"):
            journal.check_output_file(tmp_path / below)
    journal.check_output_file(tmp_path / "new" / "newer" / "aus.csv")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_closed_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(output_files.os, "access", lambda path, how: path != tmp_path)  # root may write everywhere
    for out in (tmp_path / "aus.csv", tmp_path / "new" / "aus.csv"):
        with pytest.raises(OutputError, match="may not be written to; give another place"):
            journal.check_output_file(out)


def test_two_processes_do_not_write_one_result(tmp_path):
    with Results(tmp_path / "aus.csv", SETTINGS, ["AU1"]):
        with pytest.raises(OutputError, match="another process is writing"):
            Results(tmp_path / "aus.csv", SETTINGS, ["AU1"])
    Results(tmp_path / "aus.csv", SETTINGS, ["AU1"]).file.close()


def test_where_no_locks_are_to_be_had_nobody_is_stopped(tmp_path, monkeypatch):
    def without_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", without_locks)
    Results(tmp_path / "aus.csv", SETTINGS, ["AU1"]).file.close()


def test_a_failed_write_leaves_the_old_results(tmp_path, sources, detector, monkeypatch):
    out = tmp_path / "aus.csv"
    fill(out, sources[:2], detector)
    before = out.read_bytes()

    def full(path, tables):
        path.write_text("half")
        raise OSError("no space left")

    monkeypatch.setitem(formats.WRITERS, ".csv", full)
    with pytest.raises(OSError, match="no space left"):
        fill(out, sources, detector)
    assert out.read_bytes() == before and sorted(path.name for path in tmp_path.iterdir()) == [
        "aus.csv", "aus.csv.journal.jsonl", "clips"
    ]  # fmt: skip
