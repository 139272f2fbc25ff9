"""`aullm predict` on a folder as people have them: a row for everything, the right reasons, the right exit status."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from aullm_hf.commands.main import main
from support import processes
from support.videos import moving, noise, write_folder, write_video

AULLM = [sys.executable, "-m", "aullm_hf"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photo):
    """Good clips, and one of every kind that people trip over."""
    root = tmp_path_factory.mktemp("my clips ü")
    clip = moving(photo, [(step, 0) for step in range(8)])
    write_video(root / "good 1.mkv", clip)
    write_folder(root / "good 2", clip, "frame_{:03d}.jpg")
    write_video(root / "HIGH.MOV", [np.kron(frame, np.ones((6, 8, 1), np.uint8)) for frame in clip[:3]],
                codec="libx264", pixels="yuv420p", preset="ultrafast", crf="30")  # fmt: skip
    (root / "text.mp4").write_text("this is no video\n" * 20)
    (root / "empty.mp4").touch()
    write_video(root / "one frame.mkv", clip[:1])
    write_video(root / "nobody.mkv", [np.full_like(photo, 90)] * 4)
    small = [frame[::4, ::4] for frame in clip]
    minutes = [small[at % 8] for at in range(1200)]  # ten minutes at 2 frames a second
    write_video(root / "ten minutes.mp4", minutes, codec="libx264", pixels="yuv420p", rate=2, preset="ultrafast")
    return root


REASONS = {
    "good 1.mkv": "",
    "good 2": "",
    "HIGH.MOV": "",
    "text.mp4": "is no readable video (Invalid data found when processing input)",
    "empty.mp4": "the file is empty",
    "one frame.mkv": "one frame shows no motion",
    "nobody.mkv": "no face in its first 4 frames (score at least 0.6); clips that are cropped already need "
    "face='none' (--no_face)",
}


def test_everything_in_a_folder_has_its_rows_and_reasons(folder, face_checkpoint, face_model, tmp_path, capsys):
    out = tmp_path / "aus.parquet"
    command = ["predict", str(folder), "--model", str(face_checkpoint), "--out", str(out), "--face_model",
               str(face_model), "--window", "60", "--stride", "60"]  # fmt: skip
    assert main(command) == 0
    summary = capsys.readouterr().err.strip().splitlines()[-1]
    table = pd.read_parquet(out)
    table["name"] = table["source"].map(os.path.basename)
    short = table[table["name"] != "ten minutes.mp4"].set_index("name")
    assert short["reason"].to_dict() == REASONS
    assert short["p_AU4"].notna().to_dict() == {name: not reason for name, reason in REASONS.items()}
    minutes = table[table["name"] == "ten minutes.mp4"]
    assert len(minutes) == 10 and (minutes["reason"] == "").all() and minutes["p_AU4"].notna().all()
    assert minutes["start"].tolist() == pytest.approx([60 * at for at in range(9)] + [599.5 - 60 + 0.5], abs=0.5)
    assert minutes["end"].iloc[-1] == pytest.approx(599.5)
    assert summary.startswith(f"8 sources, {len(table)} rows; 4 rows with a reason") and summary.endswith(f"-> {out}")
    for reason in ("the file is empty", "one frame shows no motion", "no face", "is no readable video"):
        assert f"1 x {reason}" in summary
    before = table.drop(columns="name")
    assert main([*command, "--strict"]) == 1
    assert "8 sources had rows already" in capsys.readouterr().err
    pd.testing.assert_frame_equal(pd.read_parquet(out), before)


@pytest.mark.slow
def test_a_recording_of_ten_minutes_at_25_frames_a_second(tmp_path, photo, face_checkpoint, face_model):
    frames = [frame[::4, ::4] for frame in moving(photo, [(step, 0) for step in range(8)])]
    path = write_video(tmp_path / "long.mp4", [frames[at % 8] for at in range(15_000)], codec="libx264",
                       pixels="yuv420p", preset="ultrafast")  # fmt: skip
    out = tmp_path / "aus.csv"
    done = subprocess.run(
        [*AULLM, "predict", str(path), "--model", str(face_checkpoint), "--face_model", str(face_model), "--out",
         str(out), "--window", "5", "--stride", "5"], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(out)
    assert len(table) == 120 and table["reason"].isna().all()
    assert table["frames_read"].sum() == pytest.approx(15_000, abs=1)


def test_without_a_place_the_active_aus_are_said_by_name(tmp_path, checkpoint, capsys):
    path = write_video(tmp_path / "clip.mkv", noise(8))
    named = [str(path), str(tmp_path / "gone.mp4")]
    assert main(["predict", *named, "--model", str(checkpoint), "--no_face"]) == 1  # one of them does not exist
    said = capsys.readouterr()
    first, second = said.out.strip().splitlines()
    assert "clip.mkv  0.00-0.28 s: AU4 Brow lowerer 0." in first and "(from 0.50)" in first
    assert second.endswith("gone.mp4: not read: no such file or folder")
    assert said.err.strip().splitlines()[-1].startswith("2 sources, 2 rows; 1 row with a reason")


def test_the_long_form_names_aus_and_muscles(tmp_path, checkpoint):
    path, out = write_video(tmp_path / "clip.mkv", noise(8)), tmp_path / "aus.json"
    assert main(["predict", str(path), "--model", str(checkpoint), "--out", str(out), "--names"]) == 0
    rows = json.loads(out.read_text())
    assert [(row["au"], row["name"]) for row in rows] == [
        ("AU1", "Inner brow raiser"), ("AU4", "Brow lowerer"), ("AU12", "Lip corner puller")
    ]  # fmt: skip


def test_images_of_the_shells_own_order_are_one_clip_in_theirs(tmp_path, checkpoint):
    folder = write_folder(tmp_path / "f", noise(12))
    images = sorted(map(str, folder.iterdir()))  # img1, img10, img11, img12, img2, ..
    tables = []
    for clips, name in ((images, "a.csv"), ([str(folder)], "b.csv")):
        assert main(["predict", *clips, "--model", str(checkpoint), "--out", str(tmp_path / name)]) == 0
        tables.append(pd.read_csv(tmp_path / name))
    assert len(tables[0]) == 1 and tables[0]["p_AU4"].equals(tables[1]["p_AU4"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "aus.xls"], "results are one of"),
        (["--window", "-1"], "window=-1"),
        (["--no_face", "--face", "align"], "contradict each other"),
        (["--model", "no/such/folder"], "no/such/folder"),
    ],
)
def test_wrong_commands_say_what_is_wrong_and_end_with_2(tmp_path, checkpoint, capsys, arguments, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = [] if "--model" in arguments else ["--model", str(checkpoint)]
    assert main(["predict", "clip.mp4", *model, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_results_of_another_window_are_refused(tmp_path, checkpoint, capsys):
    path, out = write_video(tmp_path / "clip.mkv", noise(8)), tmp_path / "aus.csv"
    command = ["predict", str(path), "--model", str(checkpoint), "--out", str(out)]
    assert main(command) == 0
    assert main([*command, "--window", "0.1"]) == 2
    assert "window was None and is 0.1" in capsys.readouterr().err
    assert main([*command, "--window", "0.1", "--overwrite"]) == 0


def test_a_stopped_run_keeps_its_rows_and_goes_on(tmp_path, checkpoint, capsys):
    for at in range(100):
        write_video(tmp_path / "clips" / f"{at}.mkv", noise(8, 32, 32, seed=at))
    out = tmp_path / "aus.csv"
    journal = tmp_path / "aus.csv.journal.jsonl"
    command = ["predict", str(tmp_path / "clips"), "--model", str(checkpoint), "--out", str(out),
               "--batch_size", "1", "--workers", "1"]  # fmt: skip
    process = processes.Started(processes.aullm, *command)
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 2):
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(60) == 130 and "of 100 sources are kept in" in said and not out.exists()
    kept = journal.read_bytes().count(b"\n") - 1
    assert 2 <= kept < 100
    assert main(command) == 0
    assert f"{kept} sources had rows already" in capsys.readouterr().err
    assert pd.read_csv(out)["source"].map(os.path.basename).tolist() == [f"{at}.mkv" for at in range(100)]


# -------------------------------------------------------------------- the command itself


def test_help_is_quick_and_imports_no_torch():
    code = (
        "import sys, time; start = time.process_time()\n"
        "from aullm_hf.commands.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'numpy', 'cv2', 'av'} & set(sys.modules), 'heavy'\n"
        "assert time.process_time() - start < 0.5"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(name in said for name in ("predict", "explain", "info", "demo"))


@pytest.mark.parametrize("name", ["predict", "explain", "info", "demo"])
def test_every_commands_help_shows_an_example(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0 and f"aullm {name} " in capsys.readouterr().out.split("\n\n", 1)[1]


def test_info_says_what_a_model_is(face_checkpoint, capsys):
    assert main(["info", str(face_checkpoint)]) == 0
    said = capsys.readouterr().out
    for part in (
        "AU12  Lip corner puller",
        "zygomaticus major",
        "threshold 0.500",
        "6 gray frames of 32 x 32",
        "aligned by one transform",
        "rank 4 on q_proj, v_proj",
        "Trained on: not recorded",
    ):
        assert part in said
    assert main(["info", str(face_checkpoint), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["trained_on"] is None and facts["aus"][1]["name"] == "Brow lowerer"
    assert facts["llm"]["lora"]["r"] == 4 and facts["bytes_in_checkpoint"] > 0


def test_info_of_another_model_is_an_error(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert main(["info", str(tmp_path)]) == 2
    assert "holds a model of type 'bert', not an AU-LLM checkpoint" in capsys.readouterr().err
