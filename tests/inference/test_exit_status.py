"""What the exit status says, what is printed once, what a full disk and a closed pipe leave behind."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from aullm_hf.commands.main import main
from aullm_hf.inference import journal
from support import processes
from support.videos import noise, write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mkv", noise(60, 32, 32))


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "broken.mp4"
    path.write_text("this is no video")
    return path


def predict(*arguments) -> int:
    return main(["predict", *map(str, arguments), "--no_face"])


# -------------------------------------------------------------------- the status


@pytest.mark.parametrize("out", [False, True])
def test_the_status_of_predict(clip, broken, checkpoint, tmp_path, out):
    def status(*clips, options=()) -> int:
        place = ["--out", tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"] if out else []
        return predict(*clips, "--model", checkpoint, *place, *options)

    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "none.csv").write_text("path,onset\n")
    assert status(clip) == 0
    assert status(clip, broken) == 0 and status(clip, broken, options=["--strict"]) == 1
    assert status(broken) == status(empty) == status(tmp_path / "none.csv") == 1  # nothing was read
    assert status(clip, "gone.mp4") == status(clip, str(tmp_path / "*.avi")) == status(clip, "") == 1  # a slip
    (tmp_path / "list.csv").write_text(f"path\n{clip}\ngone.mp4\n")
    assert status(tmp_path / "list.csv") == 0  # one of a table's rows failed


def test_a_command_that_goes_on_has_the_status_of_all_its_sources(clip, broken, checkpoint, tmp_path):
    for clips, expected in (([broken], 1), ([broken, clip], 0)):
        for _ in range(2):
            assert predict(*clips, "--model", checkpoint, "--out", tmp_path / "aus.csv") == expected
    assert predict(broken, clip, "--model", checkpoint, "--out", tmp_path / "aus.csv", "--strict") == 1


def test_the_status_and_last_line_of_explain(clip, broken, checkpoint, tmp_path, capsys):
    def explain(*clips) -> tuple[int, str]:
        status = main(["explain", *map(str, clips), "--model", str(checkpoint), "--out", str(tmp_path), "--no_face"])
        return status, capsys.readouterr().out.strip().splitlines()[-1]

    status, last = explain(clip)
    assert (
        status == 0 and last == f"1 explained, 0 could not be read. Pictures and explanation.json are in {tmp_path}."
    )
    status, last = explain(broken)
    assert status == 1
    assert last == f"0 explained, 1 could not be read. No picture was made; explanation.json is in {tmp_path}."
    assert explain(clip, broken)[0] == 0 and explain(clip, "gone.mp4")[0] == 1


# -------------------------------------------------------------------- the words


def test_one_is_not_many(clip, broken, checkpoint, capsys):
    assert predict(clip, "--model", checkpoint) == 0
    assert capsys.readouterr().err.strip().splitlines()[-1] == "1 source, 1 row; all were read"
    assert predict(broken, clip, "--model", checkpoint) == 0
    assert "2 sources, 2 rows; 1 row with a reason (1 x is no readable video)" in capsys.readouterr().err


def test_what_holds_for_many_lines_is_said_once(clip, face_checkpoint, tmp_path, capsys):
    """Of the model's clips, on the first line of all; of a source's windows, on its first."""
    long = write_video(tmp_path / "long.mkv", noise(150, 32, 32))
    assert predict(long, long, "--model", face_checkpoint) == 0
    out, err = capsys.readouterr()
    assert err.count("the model was trained on aligned faces") == 1 and "aligned faces" not in out
    lines = out.splitlines()
    assert len(lines) > 40 and out.count("was read in windows of 0.5 s") == 2  # once per source
    assert "was read in windows" in lines[0]


def test_an_end_behind_the_video_is_noted(clip, checkpoint, tmp_path):
    (tmp_path / "list.csv").write_text(f"path,start,end\n{clip},0.4,9\n{clip},0.4,2.4\n{clip},,2.4\n")
    assert predict(tmp_path / "list.csv", "--model", checkpoint, "--out", tmp_path / "aus.csv") == 0
    notes = pd.read_csv(tmp_path / "aus.csv")["warning"].fillna("").tolist()
    assert notes == ["it runs from 0.000 to 2.360 s, of 0.4 to 9 s asked for", "", ""]  # 60 frames of 0.04 s


# -------------------------------------------------------------------- full disks, closed pipes


def test_a_full_disk_names_the_file(clip, checkpoint, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(journal.WRITERS, ".csv", full)
    assert predict(clip, "--model", checkpoint, "--out", tmp_path / "aus.csv") == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == f"aullm predict: {tmp_path / 'aus.csv'} could not be written: No space left on device"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aus.csv.journal.jsonl"]


def test_a_full_disk_names_the_journal(clip, checkpoint, tmp_path, capsys, monkeypatch):
    class FullFile(io.BytesIO):
        def flush(self):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def fileno(self):
            raise OSError

    monkeypatch.setattr(journal, "_lock", lambda *_: None)
    monkeypatch.setattr(Path, "open", lambda *_, **__: FullFile())
    assert predict(clip, "--model", checkpoint, "--out", tmp_path / "aus.csv") == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    path = tmp_path / "aus.csv.journal.jsonl"
    assert said == f"aullm predict: {path} could not be written: No space left on device"


def test_a_full_disk_leaves_no_cut_picture(clip, checkpoint, tmp_path, capsys, monkeypatch):
    from matplotlib.figure import Figure

    def cut(figure, path, **_):
        Path(path).write_bytes(b"\x89PNG half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Figure, "savefig", cut)
    assert main(["explain", str(clip), "--model", str(checkpoint), "--out", str(tmp_path), "--no_face"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.endswith("probabilities.png could not be written: No space left on device")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_closed_pipe_is_no_error(checkpoint, tmp_path):
    clips = [str(write_video(tmp_path / f"{at}.mkv", noise(6, 32, 32))) for at in range(3)]
    process = processes.Started(processes.aullm, "predict", *clips, "--model", str(checkpoint), "--no_face")
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(120) == 0 and "ipe" not in said and "Traceback" not in said


# -------------------------------------------------------------------- chatter


def test_libraries_do_not_talk(checkpoint, face_checkpoint, face_model, clip):
    """Neither in commands nor in Python: OpenCV warns of its own settings, transformers draws a bar per model."""
    code = (
        "import sys\n"
        "from aullm_hf.inference import AUDetector\n"
        f"AUDetector({str(face_checkpoint)!r}, face_model={str(face_model)!r})\n"
        "from aullm_hf.model import AULLMForAUDetection\n"
        f"AULLMForAUDetection.from_pretrained({str(checkpoint)!r})\n"
        "from aullm_hf.commands.main import main\n"
        f"sys.exit(main(['predict', {str(clip)!r}, '--model', {str(checkpoint)!r}, '--face', 'none']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Loading weights" not in done.stderr and "WARN" not in done.stderr and "engine" not in done.stderr


def test_a_callers_own_hook_for_bars_is_put_back():
    from transformers.utils import logging

    from aullm_hf.model.quiet import quiet_loading

    seen = []
    before = logging.set_tqdm_hook(lambda make, args, kwargs: seen.append(kwargs) or make(*args, **kwargs))
    try:
        with quiet_loading():
            pass
        list(logging.tqdm(range(2), desc="Loading weights", disable=True))
    finally:
        logging.set_tqdm_hook(before)
    assert len(seen) == 1
