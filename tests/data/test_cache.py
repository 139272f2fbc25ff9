"""Built once: a second load is the same data at once, and anything that could change it rebuilds."""

import ast
import functools
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from aullm_hf.data import FaceError, cache, frames_only, label_matrix, report_of
from support import processes


def built(tmp_path, name="casme2"):
    home = tmp_path / "cache" / "aullm_clips" / name
    return sorted(path.name for path in home.iterdir() if path.is_dir())


def test_the_second_call_reads_what_the_first_has_built(casme2, load, tmp_path, monkeypatch):
    first = load("casme2", casme2)
    monkeypatch.setattr("aullm_hf.data.builder.build", None)  # nothing may be built now
    second = load("casme2", casme2)
    assert first.cache_files == second.cache_files
    assert first.info.description == second.info.description
    np.testing.assert_array_equal(first[0]["frames"], second[0]["frames"])


def test_a_changed_frame_table_option_or_code_rebuilds(casme2, load, tmp_path, monkeypatch):
    load("casme2", casme2)
    frame = casme2 / "Cropped/Cropped/sub01/EP02_01f/reg_img46.jpg"
    os.utime(frame, (1, 1))
    load("casme2", casme2)
    assert len(built(tmp_path)) == 2
    os.utime(casme2 / "CASME2-coding-20190701.xlsx", (1, 1))
    load("casme2", casme2)
    assert len(built(tmp_path)) == 3
    load("casme2", casme2, size=32)
    load("casme2", casme2, ref="drop")
    load("casme2", casme2, fit="crop")
    assert len(built(tmp_path)) == 6
    monkeypatch.setattr("aullm_hf.data.cache.code_fingerprint", lambda synthetic: "another version")
    load("casme2", casme2)
    assert len(built(tmp_path)) == 7


REAL, SYNTHETIC = False, True


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("builder.py", {REAL}),
        ("faces.py", {REAL}),
        ("annotations.py", {REAL}),
        ("schema.py", {REAL, SYNTHETIC}),
        ("labels.py", {REAL, SYNTHETIC}),
        ("reading/tables.py", {REAL}),
        ("reading/corrections.json", {REAL}),
        ("published/samm.py", {REAL}),
        ("published/a_new_data_set.py", {REAL}),
        ("synthetic/drawing.py", {SYNTHETIC}),
        ("synthetic/a_new_setting.py", {SYNTHETIC}),
        ("__init__.py", set()),
        ("checks.py", set()),
        ("preview.py", set()),
        ("exporting.py", set()),
        ("published/counts.py", {SYNTHETIC}),
        ("README.md", set()),
        ("../../tests/support/trees/forms.py", set()),
        ("../evaluation/scoring.py", set()),
    ],
)
def test_the_key_holds_the_code_that_makes_the_clips_and_no_other(tmp_path, file, changes):
    room = tmp_path / "aullm_hf" / "data"
    shutil.copytree(cache.ROOM, room, ignore=shutil.ignore_patterns("__pycache__"))
    before = [cache.code_fingerprint.__wrapped__(kind, room) for kind in (REAL, SYNTHETIC)]
    assert before == [cache.code_fingerprint(kind) for kind in (REAL, SYNTHETIC)]  # wherever the package lies
    path = room / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{path.read_text() if path.is_file() else ''}\n# changed\n")
    after = [cache.code_fingerprint.__wrapped__(kind, room) for kind in (REAL, SYNTHETIC)]
    assert {kind for kind in (REAL, SYNTHETIC) if after[kind] != before[kind]} == changes


def test_what_the_synthetic_clips_are_made_by_is_what_their_wing_imports():
    """From the imports themselves, so that a new one is not forgotten."""
    seen, left = set(), ["synthetic/clips.py"]
    while left:
        name = left.pop()
        if name in seen or not (cache.ROOM / name).is_file():
            continue
        seen.add(name)
        for node in ast.walk(ast.parse((cache.ROOM / name).read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                folder = Path(name).parents[node.level - 1] if node.level <= len(Path(name).parents) else None
                if folder is not None:
                    modules = [node.module] if node.module else [alias.name for alias in node.names]
                    left += [(folder / f"{module.replace('.', '/')}.py").as_posix() for module in modules]
    assert seen <= set(cache.code_files(SYNTHETIC)), "these make synthetic clips and are not in their key"


def test_a_failed_build_leaves_nothing_behind(casme2, load, tmp_path):
    frame = casme2 / "Cropped/Cropped/sub01/EP02_01f/reg_img46.jpg"
    frame.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"reg_img46\.jpg"):
        load("casme2", casme2)
    assert built(tmp_path) == []


def test_rebuild_builds_again_and_old_readers_keep_their_data(casme2, load):
    old = load("casme2", casme2)
    before = np.asarray(old[0]["frames"])
    new = load("casme2", casme2, rebuild=True)
    np.testing.assert_array_equal(np.asarray(old[0]["frames"]), before)
    np.testing.assert_array_equal(np.asarray(new[0]["frames"]), before)


def test_many_processes_build_once(casme2, tmp_path):
    code = (
        "from aullm_hf import load_clips; "
        f"print(len(load_clips('casme2', {str(casme2)!r}, face='none', cache_dir={str(tmp_path / 'cache')!r})))"
    )
    running = [processes.Started(processes.python, code) for _ in range(2)]
    assert [process.finish().stdout.split()[-1] for process in running] == ["3", "3"]
    assert len(built(tmp_path)) == 1


def test_workers_do_not_change_the_data(casme2, load, tmp_path):
    one = load("casme2", casme2, cache_dir=tmp_path / "one")
    three = load("casme2", casme2, workers=3, cache_dir=tmp_path / "three")
    assert one["clip_id"][:] == three["clip_id"][:]
    for a, b in zip(one, three, strict=True):
        np.testing.assert_array_equal(a["frames"], b["frames"])
    with pytest.raises(ValueError, match="workers=0 is not allowed"):
        load("casme2", casme2, workers=0)


def test_training_reads_uint8_frames_quickly(casme2, load):
    view = frames_only(load("casme2", casme2))
    frames = view[0]["frames"]
    assert frames.dtype == torch.uint8 and frames.shape == (10, 64, 64)
    assert list(view[0]) == ["frames"]
    start = time.perf_counter()
    for at in range(60):
        view[at % 3]
    assert (time.perf_counter() - start) / 60 < 0.02  # about 0.3 ms on an idle machine


def test_labels_of_a_selection(casme2, load):
    clips = load("casme2", casme2).select([2, 0])
    np.testing.assert_array_equal(label_matrix(clips, [1, 4]), [[0, 1], [1, 0]])


def test_the_face_step_is_part_of_the_data(casme2, load, face_model, tmp_path):
    with pytest.raises(FaceError, match="no face in the first 10 frames") as caught:
        load("casme2", casme2, face="align", face_model=face_model)
    assert {problem.kind for problem in caught.value.problems} == {"face"}
    assert len(caught.value.problems) == 3
    with pytest.raises(ValueError, match="face='auto' is not allowed"):
        load("casme2", casme2, face="auto")


def test_a_face_is_cropped_from_files(tmp_path, load, face_model):
    import cv2
    from skimage.data import astronaut

    from support.clip_trees import CASME2_HEADER, write_xlsx

    root = tmp_path / "faces"
    write_xlsx(root / "t.xlsx", [CASME2_HEADER, ["01", "EP01", None, 1, 2, 3, None, 4, "others"]])
    folder = root / "sub01" / "EP01"
    folder.mkdir(parents=True)
    for number in (1, 2, 3):
        cv2.imwrite(str(folder / f"img{number}.png"), cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)[:300])
    clips = load("casme2", root, face="align", face_model=face_model)
    frames = np.asarray(clips[0]["frames"], dtype=np.uint8)
    assert (frames == frames[0]).all() and frames.std() > 20
    recipe = report_of(clips).recipe
    assert recipe["face"] == "align" and len(recipe["detector"]) == 64


def test_the_synthetic_clips_are_cached_too(tmp_path, monkeypatch):
    from aullm_hf import load_clips
    from aullm_hf.data.synthetic import clips as synthetic

    options = {"subjects": 2, "clips_per_subject": 2, "size": 32, "cache_dir": tmp_path / "cache"}
    first = load_clips("synthetic", **options)

    @functools.wraps(synthetic.synthetic_clips)
    def drawn_again(*_, **__):
        raise AssertionError("the clips were drawn again")

    monkeypatch.setattr(synthetic, "synthetic_clips", drawn_again)
    second = load_clips("synthetic", **options)
    assert first["clip_id"][:] == second["clip_id"][:] and len(second) == 4
    with pytest.raises(ValueError, match="no root"):
        load_clips("synthetic", tmp_path)


def test_a_cache_whose_bytes_changed_is_built_again_and_said(casme2, load, tmp_path, caplog):
    before = np.asarray(load("casme2", casme2)[0]["frames"])
    (arrow,) = (tmp_path / "cache").rglob("*.arrow")
    for harm in (lambda content: content[: len(content) // 2], lambda content: _flipped(content)):
        arrow.write_bytes(harm(arrow.read_bytes()))
        with caplog.at_level("WARNING", logger="aullm_hf.data.cache"):
            np.testing.assert_array_equal(np.asarray(load("casme2", casme2)[0]["frames"]), before)
        assert arrow.name in caplog.text and "are damaged" in caplog.text
        caplog.clear()
    load("casme2", casme2)
    assert not caplog.text


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
