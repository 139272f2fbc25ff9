"""From a recording to expressions: what is spotted, what could not be looked at, and runs that are killed."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aullm_hf
from aullm_hf.commands.main import main
from aullm_hf.data.faces import Face
from aullm_hf.data.synthetic.recordings import SyntheticRecording, synthetic_recording
from aullm_hf.data.template import TEMPLATE
from aullm_hf.evaluation import score_spotting
from aullm_hf.inference import ExpressionSpotter
from aullm_hf.inference.reading.clip_source import ClipSource
from aullm_hf.inference.spotting import parts as parts_module
from aullm_hf.inference.spotting.hidden import hidden_in
from aullm_hf.inference.spotting.intervals import decode
from aullm_hf.inference.spotting.journal import SpottedResults
from aullm_hf.inference.spotting.network import CONTEXT, WEIGHTS, load_spotter
from aullm_hf.inference.spotting.parts import PartReader, split_into_parts
from aullm_hf.inference.spotting.region_motion import CHANNELS
from aullm_hf.inference.spotting.signals import Stretch
from aullm_hf.inference.spotting.spotter import SPOT_COLUMNS
from support.videos import write_video

FPS = 25.0


@pytest.fixture(scope="module")
def recording() -> SyntheticRecording:
    """With a stretch without a face and a cut."""
    return synthetic_recording(seconds=40, fps=FPS, seed=12)


@pytest.fixture(scope="module")
def frames(recording) -> np.ndarray:
    return np.stack(list(recording))


@pytest.fixture(scope="module")
def spotter() -> ExpressionSpotter:
    return ExpressionSpotter(face="none", fps=FPS)


@pytest.fixture(scope="module")
def table(spotter, frames) -> pd.DataFrame:
    (table,) = spotter.spot(frames)
    return table


def scored(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    return score_spotting(table.assign(video="a"), truth.assign(video="a"))


def test_expressions_are_spotted_where_they_are(table, recording):
    assert list(table.columns) == list(SPOT_COLUMNS)
    scores = scored(table, recording.table())
    assert scores.loc["overall", "recall"] >= 0.6 and scores.loc["overall", "precision"] >= 0.6
    rows = table[table["reason"] == ""]
    assert (rows["onset"] < rows["apex"]).all() and (rows["apex"] < rows["offset"]).all()
    assert np.allclose(rows["start"], (rows["onset"].astype(float) - 1) / FPS)
    assert ((rows["duration"] <= 0.56) | (rows["kind"] == "longer")).all() and rows["score"].between(0.1, 1).all()


def test_what_could_not_be_looked_at_has_its_row(table, recording):
    rows = table[table["reason"] != ""]
    seen = [(onset, offset) for onset, offset in zip(rows["onset"], rows["offset"], strict=True)]
    assert seen == [(hidden.onset, hidden.offset) for hidden in recording.hidden]
    assert {hidden.reason for hidden in recording.hidden} == {"cut", "no face"}
    assert "cut" in set(rows["reason"])


def test_nothing_is_spotted_in_a_still_picture(spotter):
    still = synthetic_recording(seconds=15, fps=FPS, seed=1, control="still")
    (table,) = spotter.spot(ClipSource("still", frames=still, fps=FPS))
    assert not len(table)


def test_a_recording_played_backwards_has_the_same_expressions_from_the_end(spotter, frames, table):
    (turned,) = spotter.spot(np.ascontiguousarray(frames[::-1]))
    mirrored = table.assign(onset=len(frames) + 1 - table["offset"], offset=len(frames) + 1 - table["onset"])
    assert scored(turned, mirrored[mirrored["reason"] == ""]).loc["overall", "f1"] > 0.7


def test_the_file_says_the_same_as_the_frames(spotter, frames, tmp_path):
    (read,) = spotter.spot(write_video(tmp_path / "talk.mkv", frames[:300], rate=FPS))
    (seen,) = spotter.spot(frames[:300])
    pd.testing.assert_frame_equal(read.drop(columns="source"), seen.drop(columns="source"))


# -------------------------------------------------------------------- parts, and going on


@pytest.fixture
def short_parts(monkeypatch):
    monkeypatch.setattr(parts_module, "PART", 5.0)


def test_parts_change_nothing_to_speak_of(spotter, frames, table, short_parts):
    (parted,) = spotter.spot(frames)
    assert len(parted) >= len(table) - 1
    assert scored(parted, table[table["reason"] == ""]).loc["overall", "f1"] > 0.8  # one of a handful may change
    hidden = ["onset", "offset", "reason"]
    assert (
        parted.loc[parted["reason"] != "", hidden].values.tolist()
        == table.loc[table["reason"] != "", hidden].values.tolist()
    )


def test_a_recording_goes_on_after_any_part(spotter, frames, short_parts):
    source = ClipSource("talk", frames=frames, fps=FPS)
    whole = list(spotter.spot_parts(source))
    assert [part.number for part in whole] == list(range(len(whole))) and len(whole) == 8
    assert [part.final for part in whole] == [False] * 7 + [True]
    for at in (0, 4):
        rest = list(spotter.spot_parts(source, whole[at]))
        assert rest == whole[at + 1 :]


def test_a_killed_run_given_again_ends_with_the_same_table(spotter, frames, tmp_path, short_parts, monkeypatch):
    video = write_video(tmp_path / "talk.mkv", frames[:350], rate=FPS)
    source = ClipSource("talk", video)

    def run(name: str) -> pd.DataFrame:
        with SpottedResults(tmp_path / name, spotter.settings) as results:
            results.spot(spotter, source)
            results.write()
        return pd.read_json(tmp_path / name)

    expected = run("whole.json")
    keep = SpottedResults._keep

    def killed(self, key, source, part):
        if part.number == 2:
            raise KeyboardInterrupt
        keep(self, key, source, part)

    monkeypatch.setattr(SpottedResults, "_keep", killed)
    with pytest.raises(KeyboardInterrupt):
        run("killed.json")
    monkeypatch.setattr(SpottedResults, "_keep", keep)
    journal = tmp_path / "killed.json.journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])  # the last line was not written to its end
    pd.testing.assert_frame_equal(run("killed.json"), expected)
    lines = len(journal.read_bytes().splitlines())
    run("killed.json")
    assert len(journal.read_bytes().splitlines()) == lines  # nothing was computed again
    write_video(video, frames[:100], rate=FPS)
    assert len(run("killed.json")) < len(expected)  # the file has changed: its old parts count no more


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 3.0), min_size=2, max_size=300))
def test_parts_hold_every_frame_and_share_their_ends(gaps):
    times = np.cumsum(gaps)
    bounds = split_into_parts(times)
    assert bounds[0][0] == 0 and bounds[-1][1] == len(times) - 1
    assert all(one[1] == following[0] for one, following in pairwise(bounds))
    assert all(last > first for first, last in bounds)


spans = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 9)), max_size=6)


@settings(max_examples=60, deadline=None)
@given(spans, st.booleans())
def test_every_frame_was_followed_or_has_a_reason(spans, all_faces):
    sights, cursor = [], 0
    for gap, length in spans:
        first = cursor + gap
        sights.append(Stretch(first, list(range(first, first + length)), [None] * length))
        cursor = first + length
    hidden = hidden_in({0: sights}, 0, 70, {3: "turned away"}, all_faces)
    covered = np.zeros(71, int)
    for sight in sights:
        covered[sight.first : sight.last + 1] += 1
    for span in hidden:
        if span.reason == "cut":
            assert covered[span.first] == 1 and span.first == span.last
        else:
            covered[span.first : span.last + 1] += 1
    assert (covered == 1).all()
    assert sum(span.reason == "cut" for span in hidden) == sum(gap == 0 for gap, _ in spans[1:])


# -------------------------------------------------------------------- the network and its peaks


def test_the_weights_are_small_and_what_is_said_of_a_moment_depends_on_seconds_around_it():
    import torch

    assert WEIGHTS.stat().st_size < 300_000
    network = load_spotter()
    motion = torch.randn(1, 1200, CHANNELS, generator=torch.Generator().manual_seed(0))
    changed = motion.clone()
    changed[:, 600 + CONTEXT :] += 1
    changed[:, : 600 - CONTEXT] *= 2
    with torch.inference_mode():
        one, other = network(motion)[0, 300], network(changed)[0, 300]
    assert torch.allclose(one, other, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 0.6), st.floats(0.1, 1.0), st.floats(0.55, 0.99)), min_size=1, max_size=6))
def test_peaks_become_the_intervals_that_they_say(events):
    said, start = np.full((1200, 4), -6.0), 100.0
    middle = 2.0
    expected = []
    for before, after, score in events:
        at = round(middle * 25)
        said[at] = [np.log(score / (1 - score)), np.log(before), np.log(after), 0.0]
        expected.append((start + at / 25 - before, start + at / 25 + after, score))
        middle += 3.0
    intervals = decode(said, start, 0.5)
    assert np.allclose([(one.onset, one.offset, one.score) for one in intervals], expected)
    assert all(one.apex == pytest.approx((one.onset + one.offset) / 2) for one in intervals)


# -------------------------------------------------------------------- faces


@pytest.mark.slow
def test_two_people_are_spotted_apart(face_model):
    pair = synthetic_recording(seconds=14, fps=FPS, seed=4, people=2)
    source = ClipSource("pair", frames=[pair[at] for at in range(len(pair))], fps=FPS)
    (both,) = ExpressionSpotter(faces="all", face_model=face_model, threshold=0.35).spot(source)
    found = both[both["reason"] == ""]
    left = found["box_x"] + found["box_w"] / 2 < 224  # where the first of the two sits
    numbers = dict(zip(found["face_id"], (~left).astype(int), strict=True))
    assert set(numbers) == {0, 1} and (found["face_id"].map(numbers) == ~left).all()
    assert scored(found.assign(face_id=found["face_id"].map(numbers)), pair.table()).loc["overall", "recall"] >= 0.6
    (one,) = ExpressionSpotter(face_model=face_model).spot(replace(source, frames=source.frames[:100]))
    assert set(one["face_id"]) <= {0}


class MarkedFinder:
    """Knows where the face is, and by a mark in the corner whether it looks away."""

    def find_large(self, gray: np.ndarray, min_score: float) -> list[Face]:
        points = TEMPLATE * 128 + 48
        points[2, 0] += 25 * (gray[0, 0] == 255)  # the nose
        return [Face(box=(60.0, 60.0, 100.0, 110.0), points=points, score=0.9)]

    def find_again(self, gray: np.ndarray, face: Face) -> Face:
        return self.find_large(gray, 0)[0]


def test_a_head_that_is_turned_away_is_not_looked_at():
    recording = synthetic_recording(seconds=10, fps=FPS, seed=1, picture=True, control="neutral")
    frames = np.stack([recording[at] for at in range(100)])
    frames[:, 0, 0] = 0
    frames[50:75, 0, 0] = 255
    spotter = ExpressionSpotter(face="none", fps=FPS)
    spotter.reader = PartReader(MarkedFinder())
    (table,) = spotter.spot(frames)
    rows = table[table["reason"] != ""]
    assert set(rows["reason"]) == {"turned away"} and len(rows) == 1
    # The face is looked for once per second while it is followed, and five times per second while it is not.
    assert 51 <= rows["onset"].iloc[0] <= 77 and 75 <= rows["offset"].iloc[0] <= 80


def test_a_picture_without_a_face_is_one_interval_with_its_reason(face_model):
    nobody = np.random.default_rng(0).integers(0, 255, (60, 96, 96), dtype=np.uint8)
    (table,) = ExpressionSpotter(face_model=face_model, fps=FPS).spot(nobody)
    assert table[["onset", "offset", "reason"]].values.tolist() == [[1, 60, "no face"]]


# -------------------------------------------------------------------- the command


def spot(*arguments) -> int:
    return main(["spot", *map(str, arguments), "--no_face"])


def test_the_command_writes_tables_and_a_timeline(frames, tmp_path, capsys):
    video = write_video(tmp_path / "talk.mkv", frames[:250], rate=FPS)
    assert spot(video, "--out", tmp_path / "a.csv", "--timeline", tmp_path / "pictures") == 0
    assert "1 source" in capsys.readouterr().err
    assert spot(video, "--out", tmp_path / "a.parquet") == 0
    one, other = pd.read_csv(tmp_path / "a.csv"), pd.read_parquet(tmp_path / "a.parquet")
    assert list(one.columns) == list(SPOT_COLUMNS) and len(one) == len(other) > 1
    assert np.allclose(one["start"], other["start"])
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["talk.png"]
    capsys.readouterr()
    assert spot(video) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(one) and any("micro, apex" in line or "longer, apex" in line for line in lines)


def test_bad_input_ends_in_a_row_or_in_one_line(frames, tmp_path, capsys):
    video = write_video(tmp_path / "talk.mkv", frames[:100], rate=FPS)
    broken = tmp_path / "broken.mp4"
    broken.write_text("this is no video")
    out = tmp_path / "all.json"
    assert spot(video, broken, "--out", out) == 0
    assert spot(broken) == spot(tmp_path / "gone.mp4") == spot(video, tmp_path / "gone.mp4") == 1
    assert spot(video, broken, "--strict") == 1
    rows = [row for row in json.loads(out.read_text()) if row["source"].endswith("broken.mp4")]
    assert len(rows) == 1 and rows[0]["reason"] and rows[0]["onset"] is None
    capsys.readouterr()
    for wrong, message in (
        (["--threshold", "2"], "threshold=2.0 is not allowed; give a number between 0 and 1"),
        (["--out", tmp_path / "a.txt"], "results are one of .csv"),
        (["--faces", "all"], "faces='all' looks for faces"),
        (["--out", out, "--threshold", "0.9"], "made with other settings (threshold was"),
    ):
        assert spot(video, *wrong) == 2
        assert message in capsys.readouterr().err


def test_frames_without_a_rate_and_single_ones_have_a_reason(frames):
    table = aullm_hf.spot_expressions([frames[:50]], face="none")
    assert "give fps" in table["reason"].iloc[0]
    table = aullm_hf.spot_expressions([frames[:1]], face="none", fps=25)
    assert table["reason"].iloc[0] == "one frame shows no motion"


def test_the_same_spotter_says_other_things_at_another_threshold(spotter, frames, table):
    strict = ExpressionSpotter(face="none", fps=FPS, threshold=0.97)
    (few,) = strict.spot(frames)
    assert (few["reason"] == "").sum() < (table["reason"] == "").sum()
    assert replace(strict.reader) == spotter.reader
