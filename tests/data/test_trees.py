"""Every loader against trees in its data set's form: exactly the clips, AUs, frames and findings that were written."""

import pytest

from aullm_hf.data import check_clips, report_of
from aullm_hf.data.synthetic_trees import TREES, write_tree

POLICIES = (
    {"either": "literature", "ref": "keep", "static": "drop"},
    {"either": "first", "ref": "drop", "static": "keep"},
    {"either": "drop", "ref": "keep", "static": "drop"},
)


@pytest.fixture(scope="module", params=TREES)
def truth(request, tmp_path_factory):
    return write_tree(request.param, tmp_path_factory.mktemp(request.param), seed=3)


@pytest.mark.parametrize("policies", POLICIES, ids=lambda p: f"{p['either']}-{p['ref']}")
def test_a_tree_is_read_as_it_was_written(truth, load, policies):
    clips = load(truth.name, truth.root, on_error="skip", size=16, **policies)
    report = report_of(clips)
    assert clips["clip_id"][:] == [clip.clip_id for clip in truth.usable]
    for row, clip in zip(clips, truth.usable, strict=True):
        assert row["aus"] == clip.aus(**policies), clip.clip_id
        assert len(row["frames"]) == len(clip.files), clip.clip_id
        for name in ("subject", "clip", "onset", "apex", "offset", "fps", "au_text", "emotion"):
            assert row[name] == getattr(clip, name), (clip.clip_id, name)
    assert (report.rows, report.frames, report.subjects) == (truth.rows, truth.frames, truth.subjects)
    assert report.aus == truth.au_counts(**policies)
    assert (report.table, report.images) == (truth.table, truth.images)
    listed = {(problem.level, problem.kind, problem.clip) for problem in report.problems}
    assert {(finding.level, finding.kind, finding.clip) for finding in truth.findings} <= listed
    if policies["either"] == "literature":
        applied = {(c["subject"], c["clip"], c["field"], str(c["found"])) for c in report.corrections}
        assert applied == {(c.subject, c.clip, c.field, str(c.found)) for c in truth.corrections}


def test_the_checker_agrees(truth):
    outcome = check_clips(truth.name, truth.root, workers=1)
    assert outcome.ok == (len(truth.usable) == len(truth.clips))
    assert outcome.report.clips == len(truth.usable)
    assert {p.clip for p in outcome.report.skipped} == {clip.name for clip in truth.clips if not clip.usable}
