"""Trees of every shape with links in them: whatever is found to be read lies inside the folder that was named."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aullm_hf.data import DataError
from aullm_hf.data.reading.folders import Tree
from aullm_hf.inference.reading.frames import open_frames
from aullm_hf.inference.reading.sources import expand_sources

NAMES = ("a", "b", "img1.png", "img2.png", "v.avi")
TARGETS = ("..", ".", "a", "b", "../a", "a/b", "../..", "../../outside", "../outside/v.avi", "../outside/img1.png",
           "../outside", "{outside}", "{outside}/v.avi", "{outside}/deep", "{outside}/deep/img1.png", "{root}/a",
           "/etc/passwd", "/proc/self/environ", "nowhere")  # fmt: skip
ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b", "a/b", "b/a"]),
        st.sampled_from(NAMES),
        st.sampled_from(["folder", "file", *TARGETS]),
    ),
    max_size=14,
)


def build(root: Path, outside: Path, entries) -> None:
    (outside / "deep").mkdir(parents=True)
    for name in ("v.avi", "img1.png", "deep/img1.png", "deep/v.avi"):
        (outside / name).write_bytes(b"secret")
    root.mkdir()
    for parent, name, what in entries:
        folder = root / parent
        inside = os.path.realpath(folder).startswith(str(root))
        if not inside or not folder.is_dir() or os.path.lexists(folder / name):
            continue
        if what == "folder":
            (folder / name).mkdir()
        elif what == "file":
            (folder / name).write_bytes(b"ours")
        else:
            os.symlink(what.format(outside=outside, root=root), folder / name)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(entries=ENTRIES)
def test_nothing_outside_is_ever_found(entries):
    with tempfile.TemporaryDirectory() as folder:
        base = Path(os.path.realpath(folder))
        root, outside = base / "root", base / "outside"
        build(root, outside, entries)
        for source in expand_sources(str(root)):
            if source.path is None:
                assert source.reason, "nothing is dropped without a word"
                continue
            assert_inside(source.path, root)
            if source.path.is_dir():
                try:
                    found = open_frames(source).paths
                except DataError as error:
                    assert "secret" not in str(error)
                    continue
                for path in found:
                    assert_inside(path, root)
                    assert path.read_bytes() == b"ours"
        tree = Tree(root)
        for path in tree.walk(depth=5, stop=lambda name: False):
            assert_inside(root / path, root)
            for name in tree.files(path):
                assert_inside(root / path / name, root)
            try:
                frames = tree.scan(path).frames
            except DataError:
                continue
            for frame in frames:
                assert_inside(root / frame.path, root)


def assert_inside(path: Path, root: Path) -> None:
    real = os.path.realpath(path)
    assert real == str(root) or real.startswith(f"{root}{os.sep}"), f"{path} leads to {real}"


def test_the_judge_sees(tmp_path):
    (tmp_path / "root").mkdir()
    with pytest.raises(AssertionError):
        assert_inside(tmp_path / "rooted", tmp_path / "root")
