"""Links that lead above themselves: each file is met once, and the link is named."""

import glob
import os

import pytest

from aullm_hf.data import report_of
from aullm_hf.data.reading.folders import Tree
from aullm_hf.data.reading.links import circular_link, recursive_glob
from support.clip_trees import write_frames


def table(root, rows):
    (root / "clips.csv").write_text("\n".join(["clip,subject,aus", *rows]))


def test_a_link_above_itself_makes_no_name_fit_twice(tmp_path, load):
    write_frames(tmp_path / "t" / "a" / "smile", "img{}.jpg", range(1, 5))
    table(tmp_path / "t", ["a/smile,anna,6"])
    os.symlink("..", tmp_path / "t" / "a" / "up")
    clips = load("own", tmp_path / "t")
    assert clips["clip_id"][:] == ["own/anna/a/smile/1"]
    (note,) = report_of(clips).notes
    assert (note.file, note.message) == ("a/up", "is a link to a folder above it; it is left out")


@pytest.mark.parametrize("target", ["a/smile", "a"])
def test_two_names_of_one_folder_are_one_candidate(tmp_path, load, target):
    """A link beside its target is no second clip."""
    write_frames(tmp_path / "t" / "a" / "smile", "img{}.jpg", range(1, 5))
    table(tmp_path / "t", ["smile,anna,6"])
    link = tmp_path / "t" / ("b/smile" if target == "a/smile" else "b")
    link.parent.mkdir(exist_ok=True)
    os.symlink(tmp_path / "t" / target, link)
    assert len(load("own", tmp_path / "t")) == 1


def test_a_published_data_set_names_them_too(casme2, load):
    os.symlink(casme2, casme2 / "Cropped" / "again")
    clips = load("casme2", casme2, images="Cropped/Cropped")
    assert [note.file for note in report_of(clips).notes if note.kind == "link"] == ["Cropped/again"]


def test_what_is_circular(tmp_path):
    for folder in ("a/b", "c"):
        (tmp_path / folder).mkdir(parents=True)
    links = {"a/up": "..", "a/self": ".", "a/b/top": str(tmp_path), "a/side": "../c", "c/back": "../a", "d": "c"}
    for name, target in links.items():
        os.symlink(target, tmp_path / name)
    root = str(tmp_path)
    for path, expected in {
        "a/up": "a/up",
        "a/self/b": "a/self",
        "a/b/top/c": "a/b/top",
        "a/side": None,
        "a/side/back": "a/side/back",  # a, c, and a again
        "c/back": None,
        "c/back/side": "c/back/side",
        "d/back/b": None,
        "a/b": None,
        "nowhere/x": None,
    }.items():
        assert circular_link(path, root) == expected, path
        absolute = circular_link(f"{root}/{path}")
        assert absolute == (None if expected is None else f"{root}/{expected}"), path
    tree = Tree(tmp_path)
    assert sorted(tree.folders("")) == ["a", "c", "d"] and sorted(tree.folders("a")) == ["b", "side"]
    assert sorted(tree.circular) == ["a/self", "a/up"]


def test_a_recursive_pattern_lists_each_file_once(tmp_path, monkeypatch):
    (tmp_path / "loop" / "deep" / ".hidden").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("loop/v.mp4", "loop/deep/w.mp4", "loop/deep/.hidden/x.mp4", "elsewhere/y.mp4"):
        (tmp_path / name).touch()
    links = {"loop/up": "..", "loop/deep/back": "..", "loop/a": "deep", "loop/far": "../elsewhere"}
    for name, target in links.items():
        os.symlink(target, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for pattern in ("loop/**/*.mp4", f"{tmp_path}/loop/**/*.mp4", "l*/**", "loop/**/**/*.mp4"):
        matches, left_out = recursive_glob(pattern)
        assert sorted(map(os.path.relpath, matches)) == ["loop/deep/w.mp4", "loop/far/y.mp4", "loop/v.mp4"]
        assert {os.path.relpath(link): reason for link, reason in left_out.items()} == {
            "loop/up": "is a link to a folder above it",
            "loop/deep/back": "is a link to a folder above it",
            "loop/a": "is a link to a folder that is listed already",
        }
    monkeypatch.chdir(tmp_path / "loop")
    assert sorted(recursive_glob("**/*.mp4")[0]) == ["deep/w.mp4", "far/y.mp4", "v.mp4"]


@pytest.mark.parametrize(
    "pattern", ["**", "**/*", "a/**/*.mp4", "**/b/*", "*/b/**", "**/*/c.mp4", "*.mp4", "nowhere/**"]
)
def test_without_links_a_pattern_fits_what_glob_says(tmp_path, monkeypatch, pattern):
    for name in ("a/b/c.mp4", "a/c.mp4", "b/x.txt", "d.mp4", "a/b/b/e.mp4", ".h/f.mp4", "a/.g.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    for prefix in ("", f"{tmp_path}/"):
        expected = {path for path in glob.glob(prefix + pattern, recursive=True) if os.path.isfile(path)}
        matches, left_out = recursive_glob(prefix + pattern)
        assert sorted(matches) == sorted(expected) and left_out == {}
