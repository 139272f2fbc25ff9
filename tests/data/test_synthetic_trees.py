"""Trees of every data set: what the writer knows to be true is what the loaders say."""

import numpy as np
import pytest

from aullm_hf.data import report_of
from support.trees.trees import TREES, write_tree

POLICIES = [
    {},
    {"either": "first"},
    {"either": "drop"},
    {"ref": "drop"},
    {"static": "keep"},
]


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    """Each data set's tree, written once for all tests."""
    root = tmp_path_factory.mktemp("synthetic-trees")
    written = {}

    def tree(name: str):
        if name not in written:
            written[name] = write_tree(name, root / name)
        return written[name]

    return tree


@pytest.mark.parametrize("name", TREES)
def test_a_loader_finds_exactly_what_is_there(trees, load, name):
    truth = trees(name)
    clips = load(name, truth.root, on_error="skip")
    assert clips["clip_id"] == [clip.clip_id for clip in truth.usable]
    for row, clip in zip(clips, truth.usable, strict=True):
        said = {field: row[field] for field in ("subject", "clip", "onset", "apex", "offset", "aus", "au_text", "fps")}
        assert said == {
            "subject": clip.subject,
            "clip": clip.clip,
            "onset": clip.onset,
            "apex": clip.apex,
            "offset": clip.offset,
            "aus": clip.aus(),
            "au_text": clip.au_text,
            "fps": clip.fps,
        }
        assert row["emotion"] == clip.emotion
        assert len(row["frames"]) == len(clip.files)


@pytest.mark.parametrize("name", TREES)
def test_its_report_lists_every_quirk_and_nothing_else(trees, load, name):
    truth = trees(name)
    report = report_of(load(name, truth.root, on_error="skip"))
    said = {(problem.level, problem.kind, problem.clip) for problem in report.problems}
    assert said == {(finding.level, finding.kind, finding.clip) for finding in truth.findings}
    rows = {problem.clip: problem.row for problem in report.skipped}
    assert rows == {finding.clip: finding.row for finding in truth.findings if finding.level == "error"}
    assert (report.table, report.images, report.rows) == (truth.table, truth.images, truth.rows)
    assert (report.clips, report.frames) == (len(truth.usable), truth.frames)
    assert report.subjects == truth.subjects
    assert report.aus == truth.au_counts()
    changed = {(c["subject"], c["clip"], c["field"], c["value"]) for c in report.corrections}
    assert changed == {(c.subject, c.clip, c.field, c.value) for c in truth.corrections}


@pytest.mark.parametrize("name", ["samm", "4dme"])
@pytest.mark.parametrize("policies", POLICIES, ids=str)
def test_under_every_policy(trees, load, name, policies):
    truth = trees(name)
    clips = load(name, truth.root, on_error="skip", **policies)
    assert clips["aus"] == [clip.aus(**policies) for clip in truth.usable]


def test_policies_change_something(trees):
    meant = {str(policies): trees("samm").au_counts(**policies) for policies in POLICIES[:4]}
    assert len({str(counts) for counts in meant.values()}) == 4
    assert trees("4dme").au_counts(static="keep") != trees("4dme").au_counts()


def test_crops_as_well(tmp_path, load):
    truth = write_tree("casme2", tmp_path, images="cropped")
    clips = load("casme2", tmp_path, on_error="skip")
    assert clips["clip_id"] == [clip.clip_id for clip in truth.usable]
    lengths = {row["clip_id"]: len(row["frames"]) for row in clips}
    assert lengths["casme2/16/EP01_08/88"] == 9  # of 23: the crops end early


@pytest.mark.parametrize("name", TREES)
def test_the_files_of_the_truth_are_on_disk(trees, name):
    truth = trees(name)
    for clip in truth.usable:
        assert clip.files and all((truth.root / file).is_file() for file in clip.files)
    again = {path.relative_to(truth.root).as_posix() for path in truth.root.rglob("*") if path.is_file()}
    assert {file for clip in truth.clips for file in clip.files} <= again


def test_a_tree_follows_from_its_seed(tmp_path):
    one, two, other = (write_tree("casme", tmp_path / str(at), seed=seed) for at, seed in enumerate((0, 0, 1)))
    files = one.usable[0].files
    assert [(one.root / file).read_bytes() for file in files] == [(two.root / file).read_bytes() for file in files]
    assert [clip.clip_id for clip in one.clips] == [clip.clip_id for clip in two.clips]
    assert [clip.aus() for clip in one.clips] != [clip.aus() for clip in other.clips]


@pytest.mark.parametrize("name", ["mmew", "smic"])
def test_mended_trees_load_as_a_whole(tmp_path, load, name):
    truth = write_tree(name, tmp_path, broken=False)
    assert truth.usable == truth.clips
    assert load(name, tmp_path)["clip_id"] == [clip.clip_id for clip in truth.clips]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "clips", "subjects"), [("casme2", 255, 26), ("samm", 159, 29)])
def test_trees_of_the_published_size(tmp_path, load, name, clips, subjects):
    truth = write_tree(name, tmp_path, broken=False, published=True)
    assert (len(truth.clips), len(truth.subjects)) == (clips, subjects)
    assert load(name, tmp_path)["clip_id"] == [clip.clip_id for clip in truth.clips]


def test_an_unknown_tree_is_named(tmp_path):
    with pytest.raises(ValueError, match="name='fer2013' is not allowed; choose one of 'casme2'"):
        write_tree("fer2013", tmp_path)


def test_faces_are_found(tmp_path, load, face_model):
    """At a third of SAMM's size, aligned on the onset: the eyes stand where the template has them."""
    truth = write_tree("casme", tmp_path, scale=0.4, broken=False)
    clips = load("casme", tmp_path, face="align", face_model=str(face_model))
    assert len(clips) == len(truth.clips)
    assert np.asarray(clips[0]["frames"]).std() > 10
