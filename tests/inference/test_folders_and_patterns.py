"""Everything in a folder is read, or listed with its reason; patterns stand for all that fits them."""

import os
from pathlib import Path

import pandas as pd
import pytest

from aullm_hf import detect_aus
from aullm_hf.commands.main import main
from aullm_hf.inference.reading.sources import expand_sources
from support.videos import noise, write_folder, write_video


def listed(given, root: Path) -> dict[str, str]:
    """Name below the root -> reason; empty where it is read."""
    return {os.path.relpath(source.name, root): source.reason for source in expand_sources(given)}


def predict(clips: list, checkpoint, out: Path, *options: str) -> tuple[int, pd.DataFrame]:
    status = main(["predict", *map(str, clips), "--model", str(checkpoint), "--no_face", "--out", str(out), *options])
    return status, pd.read_csv(out)


# -------------------------------------------------------------------- patterns


def test_a_pattern_of_frames_is_one_clip_with_all_of_them(tmp_path, checkpoint, model, processor):
    folder = write_folder(tmp_path / "frames", noise(12))
    whole = detect_aus(folder, model, processor=processor, face="none")
    for given in (f"{folder}/*.png", [f"{folder}/*.png"], [Path(f"{folder}/*.png")]):
        table = detect_aus(given, model, processor=processor, face="none")
        assert table["frames_read"].tolist() == [12] and table["p_AU4"].equals(whole["p_AU4"])
    status, table = predict([f"{folder}/*.png"], checkpoint, tmp_path / "a.csv")
    assert status == 0 and table["frames_read"].tolist() == [12]


def test_patterns_in_a_list_and_in_a_table_stand_for_all_that_fits(tmp_path):
    for name in ("EP01", "EP02"):
        write_folder(tmp_path / name, noise(6))
    write_video(tmp_path / "talk.mkv", noise(6))
    given = [f"{tmp_path}/*.mkv", f"{tmp_path}/EP0?/*.png", tmp_path / "EP01" / "img1.png"]
    sources = list(expand_sources(given))
    assert [len(source.frames or "") for source in sources] == [0, 7, 6]  # one clip per folder, in the order named
    (tmp_path / "list.csv").write_text("path\nEP01/*.png\n*.mkv\nEP03/*.png\n")
    first, second, third = expand_sources(tmp_path / "list.csv")
    assert len(first.frames) == 6 and second.path == tmp_path / "talk.mkv"
    assert third.reason == "no file fits this pattern" and not third.missing


def test_images_between_other_names_are_one_clip(tmp_path):
    images = sorted(write_folder(tmp_path / "EP01", noise(3)).iterdir())
    videos = [write_video(tmp_path / name, noise(3)) for name in ("a.mkv", "b.mkv")]
    sources = list(expand_sources([videos[0], *images, videos[1]]))
    assert [source.path or source.frames for source in sources] == [videos[0], images, videos[1]]


# -------------------------------------------------------------------- folders


def test_pictures_beside_videos_are_listed(tmp_path, checkpoint, capsys):
    root = tmp_path / "mixed"
    write_video(root / "clip.mkv", noise(8, 32, 32))
    write_folder(root, noise(1), "photo.png")
    (root / "notes.txt").write_text("x")
    found = listed(root, root)
    assert found.pop("clip.mkv") == "" and found.pop("notes.txt") == "is neither a video nor a picture"
    assert found == {
        ".": "holds 1 picture (photo.png) without numbers that order them as frames; name those of a clip"
    }
    status, table = predict([root], checkpoint, tmp_path / "a.csv")
    assert status == 0 and table["reason"].notna().sum() == 1 and len(table) == 2
    summary = capsys.readouterr().err.strip().splitlines()[-1]
    assert "2 sources, 2 rows; 1 row with a reason" in summary
    assert "1 other file left out, neither video nor picture" in summary and "notes.txt" in summary


def test_frames_and_a_preview_of_them_are_both_read(tmp_path, checkpoint):
    root = write_folder(tmp_path / "EP01", noise(12, 32, 32))
    write_video(root / "preview.gif", noise(6, 32, 32, colour=True), codec="gif", pixels="rgb8", rate=10)
    status, table = predict([root], checkpoint, tmp_path / "a.csv")
    assert status == 0 and table["source"].tolist() == [str(root), str(root / "preview.gif")]
    assert table["frames_read"].tolist() == [12, 6] and table["warning"].isna().all()


def test_a_preview_picture_per_video_is_no_clip(tmp_path):
    for at in (1, 2, 3):
        write_video(tmp_path / f"clip{at}.mkv", noise(4))
        write_folder(tmp_path, noise(1), f"clip{at}.png")
    found = listed(tmp_path, tmp_path)
    assert [name for name, reason in found.items() if not reason] == ["clip1.mkv", "clip2.mkv", "clip3.mkv"]
    assert "holds 3 pictures (clip1.png, clip2.png, clip3.png) beside 3 videos" in found["."]


@pytest.mark.parametrize(
    ("numbers", "clip"),
    [
        (range(46, 87), True),
        (range(0, 300, 5), True),  # every fifth frame
        ([1, 2, 3, 4, 6, 7, 8, 11, 12], True),  # a few are missing
        ([0, 2, 5, 7, 10, 12, 15], True),  # 200 frames a second, stored at 80
        ([3, 4], True),
        ([2041, 2051, 22_051, 26_356], False),  # photographs
        ([2041, 2042, 2043, 26_356], False),
        ([*range(10), *range(9000, 9010)], False),
    ],
)
def test_photographs_are_not_frames(tmp_path, model, processor, numbers, clip):
    pictures = noise(len(numbers))
    for number, picture in zip(numbers, pictures, strict=True):
        write_folder(tmp_path / "f", [picture], f"IMG_{number:05d}.png")
    for given in (tmp_path / "f", f"{tmp_path}/f/*.png"):
        row = detect_aus(given, model, processor=processor, face="none").iloc[0]
        assert pd.notna(row["p_AU4"]) == clip, row["reason"]
        if not clip:
            missing = numbers[-1] - numbers[0] + 1 - len(numbers)
            assert f"with {missing:,} numbers missing, are not taken for the frames of one clip" in row["reason"]


def test_a_part_of_a_folder_is_named_by_its_numbers(tmp_path, model, processor):
    folder = write_folder(write_folder(tmp_path / "f", noise(9), first=10), noise(9), first=9000)
    table = pd.DataFrame({"path": [str(folder)], "onset": [11], "offset": [17]})
    row = detect_aus(table, model, processor=processor, face="none").iloc[0]
    assert row["reason"] == "" and row["frames_read"] == 7


def test_pictures_without_numbers_are_a_clip_only_by_name(tmp_path, model, processor):
    paths = []
    for name, picture in zip(("anna", "bob", "carol", "dora", "emil", "fritz"), noise(6), strict=True):
        paths += [next(iter(write_folder(tmp_path / "f", [picture], f"{name}.png").glob(f"{name}.png")))]
    (folder,) = (source for source in expand_sources(tmp_path / "f"))
    assert "holds 6 pictures (anna.png, bob.png, carol.png and 3 more) without numbers" in folder.reason
    row = detect_aus(paths, model, processor=processor, face="none").iloc[0]
    assert row["reason"] == "" and "taken as frames in the order given" in row["warning"]
