"""What a caller names becomes a list of sources, in order, with nothing dropped."""

import os

import numpy as np
import pandas as pd
import pytest

from aullm_hf.inference.reading.sources import expand_sources
from support.videos import noise, write_folder, write_video


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder as people have them."""
    root = tmp_path_factory.mktemp("tree")
    for name in ("clip 2.mp4", "clip 10.MP4", "ünï.avi"):
        write_video(root / "videos" / name.replace(".mp4", ".mkv").replace(".MP4", ".mkv"), noise(2))
        os.replace(root / "videos" / name.replace(".mp4", ".mkv").replace(".MP4", ".mkv"), root / "videos" / name)
    write_folder(root / "sub01" / "EP01_2", noise(2))
    write_folder(root / "sub01" / "EP01_10", noise(2))
    (root / "sub02").mkdir()
    (root / "videos" / "notes.txt").write_text("not a clip")
    (root / "videos" / "._clip 2.mp4").write_bytes(b"a shadow file")
    return root


def names(given, root) -> list[str]:
    return [os.path.relpath(source.name, root) for source in expand_sources(given) if not source.ignored]


def test_a_folder_is_its_videos_and_frame_folders_in_natural_order(tree):
    assert names(tree, tree) == [
        "sub01/EP01_2", "sub01/EP01_10", "videos/clip 2.mp4", "videos/clip 10.MP4", "videos/ünï.avi"
    ]  # fmt: skip
    (notes,) = [source for source in expand_sources(tree) if source.reason]
    assert notes.name.endswith("notes.txt") and notes.ignored and notes.reason == "is neither a video nor a picture"


def test_a_frame_folder_is_one_clip(tree):
    assert names(tree / "sub01" / "EP01_2", tree) == ["sub01/EP01_2"]


def test_patterns_lists_and_the_same_file_twice(tree):
    assert names(str(tree / "videos" / "clip*"), tree) == ["videos/clip 2.mp4", "videos/clip 10.MP4"]
    assert names(str(tree / "**" / "*.avi"), tree) == ["videos/ünï.avi"]
    assert names([tree / "videos" / "ünï.avi"] * 2, tree) == ["videos/ünï.avi"] * 2
    (pictures,) = expand_sources(str(tree / "sub01" / "EP01_2" / "*.png"))
    assert [path.name for path in pictures.frames] == ["img1.png", "img2.png"]
    both = expand_sources([*(tree / "sub01" / "EP01_2").iterdir(), *(tree / "sub01" / "EP01_10").iterdir()])
    assert [len(source.frames) for source in both] == [2, 2]  # images are one clip a folder


def test_what_is_not_there_is_a_source_with_its_reason(tree):
    given = [tree / "gone.mp4", str(tree / "*.flv"), tree / "sub02", "\0", "http://example.org/a.mp4", ""]
    found = list(expand_sources(given))
    assert [source.reason for source in found] == [
        "no such file or folder", "no file fits this pattern", "the folder holds neither videos nor numbered images",
        found[3].reason, "no such file or folder", "the name is empty; . is the folder you are in",
    ]  # fmt: skip
    assert found[3].reason


def test_links_that_lead_outside_are_listed_and_not_followed(tmp_path):
    write_video(tmp_path / "outside" / "secret.mkv", noise(2))
    inside = tmp_path / "inside"
    write_video(inside / "a.mkv", noise(2))
    (inside / "b.mkv").symlink_to(tmp_path / "outside" / "secret.mkv")
    (inside / "loop").symlink_to(inside)
    found = {os.path.basename(source.name): source for source in expand_sources(inside)}
    assert found["a.mkv"].reason == "" and "outside" in found["b.mkv"].reason and "link" in found["loop"].reason
    assert found["b.mkv"].path is None
    (direct,) = expand_sources(inside / "b.mkv")  # whoever names it means it
    assert direct.reason == ""


def test_a_table_names_paths_beside_it_and_parts_of_them(tree):
    table = tree / "list.csv"
    table.write_text(
        "clip,path,start,end,onset,offset,fps\n"
        "a,videos/clip 2.mp4,0.5,1.5,,,200\n"
        "b,sub01/EP01_2,,,46,86,\n"
        f"c,{tree / 'videos' / 'ünï.avi'},,,,,\n"
        "d,,,,,,\n"
        "e,videos/clip 2.mp4,soon,,,,\n"
        "f,videos/gone.mp4,,,,,\n"
        "g,list.csv,,,,,\n",
        encoding="utf-8",
    )
    a, b, c, d, e, f, g = expand_sources(table, fps=50)
    assert (a.path, a.start, a.end, a.fps) == (tree / "videos" / "clip 2.mp4", 0.5, 1.5, 200)
    assert (b.path, b.onset, b.offset, b.fps) == (tree / "sub01" / "EP01_2", 46, 86, 50)
    assert c.path.name == "ünï.avi" and not c.reason
    assert d.reason == "the row names no path" and "start is 'soon'; write seconds" in e.reason
    assert f.reason == "no such file or folder" and "a table, named by a table" in g.reason
    table.unlink()


def test_a_data_frame_is_a_table(tree):
    frame = pd.DataFrame({"path": [str(tree / "videos" / "clip 2.mp4")] * 2, "start": [0.5, np.nan]})
    first, second = expand_sources(frame)
    assert (first.start, second.start) == (0.5, None)


def test_a_table_without_paths_says_what_it_lacks(tmp_path):
    (tmp_path / "list.csv").write_text("subject,emotion\n1,joy\n")
    (source,) = expand_sources(tmp_path / "list.csv")
    assert source.reason.startswith("no row near the top is a header with a column path or file")


def test_arrays_are_clips_and_lists_of_them_batches():
    import torch
    from PIL import Image

    gray, colour = np.stack(noise(5)), np.stack(noise(5, colour=True))
    for one in (gray, colour, torch.from_numpy(colour), list(gray), list(colour), colour.transpose(0, 3, 1, 2),
                [Image.fromarray(frame) for frame in colour]):  # fmt: skip
        (source,) = expand_sources(one)
        assert source.name == "array" and len(source.frames) == 5
        assert np.asarray(source.frames[0]).shape[:2] == (48, 64)
    for many in (np.stack([colour, colour]), [gray, colour], [list(gray), list(colour)], iter([gray, gray])):
        assert [source.name for source in expand_sources(many)] == ["array 0", "array 1"]
    (single,) = expand_sources(colour[0])
    assert len(single.frames) == 1


def test_what_can_be_no_clip_is_an_error():
    for given in (5, None, ["a.mp4", 3.0]):
        with pytest.raises(TypeError, match="names no clip; give a path, an array"):
            list(expand_sources(given))


def test_names_that_are_no_text_can_be_written(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\xfe.mkv"
    try:
        with open(path, "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes no such name")
    (source,) = expand_sources(tmp_path)
    source.name.encode("utf-8")
    assert source.path.exists()


def test_links_above_themselves_are_named_and_left_out(tmp_path):
    (tmp_path / "loop" / "deep").mkdir(parents=True)
    for name in ("v.mp4", "deep/w.mp4"):
        (tmp_path / "loop" / name).touch()
    (tmp_path / "loop" / "up").symlink_to("..")
    (tmp_path / "loop" / "deep" / "back").symlink_to("..")
    for given in (str(tmp_path / "loop"), f"{tmp_path}/loop/**/*.mp4"):
        sources = list(expand_sources(given))
        assert sorted(s.path.relative_to(tmp_path).as_posix() for s in sources if not s.reason) == [
            "loop/deep/w.mp4",
            "loop/v.mp4",
        ]
        named = {s.name.removeprefix(f"{tmp_path}/"): s.reason for s in sources if s.reason}
        assert named == dict.fromkeys(["loop/deep/back", "loop/up"], "is a link to a folder above it")
