"""Files that mean no good, wherever a file comes from somebody else: refused in words, and nothing runs."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from aullm_hf.commands.main import main
from aullm_hf.data import AnnotationError, DataError
from aullm_hf.data.reading.tables import read_sheets
from aullm_hf.data.reading.videos import open_video
from aullm_hf.evaluation.run_folder import read_run
from aullm_hf.inference import AUDetector
from aullm_hf.inference.formats import escape_formulas
from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from support.clip_trees import casme2_tree
from support.fake_run import fake_run, report_without_figures
from support.tiny import tiny_model
from support.videos import noise, write_video

RAN = "this ran"


@pytest.fixture
def payload(tmp_path):
    """A pickle that leaves a file behind when it is loaded."""

    class Payload:
        def __reduce__(self):
            return Path.write_text, (tmp_path / RAN, "!")

    yield pickle.dumps(Payload())
    assert not (tmp_path / RAN).exists(), "it ran"


def test_the_payload_would_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return Path.write_text, (tmp_path / RAN, "!")

    pickle.loads(pickle.dumps(Payload()))
    assert (tmp_path / RAN).exists()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "fold"
    model = tiny_model()
    model.save_pretrained(folder)
    AULLMVideoProcessor.for_config(model.config).save_pretrained(folder)
    return folder


@pytest.fixture
def fold(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "fold"))


def edit(path, **changed):
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


# -------------------------------------------------------------------- checkpoints


def test_weights_that_are_a_pickle_are_refused(fold, payload):
    (fold / "model.safetensors").write_bytes(payload)
    with pytest.raises(OSError, match="damaged"):
        AUDetector(fold)


@pytest.mark.parametrize("whole", [False, True])
def test_a_checkpoint_of_pickles_alone_is_refused(fold, payload, whole):
    (fold / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "adapter_model.bin", "training_args.bin", "optimizer.pt"):
        (fold / name).write_bytes(payload)
    if whole:
        edit(fold / "config.json", save_base_weights=True, lora=None)
    with pytest.raises(OSError):
        AULLMForAUDetection.from_pretrained(fold)
    assert main(["info", str(fold)]) == 0  # what it is can be said


def test_a_base_llm_of_pickles_alone_is_refused(fold, tmp_path, payload):
    base = tmp_path / "base"
    shutil.copytree(json.loads((fold / "config.json").read_text())["llm_name_or_path"], base)
    (base / "model.safetensors").rename(base / "kept")
    (base / "pytorch_model.bin").write_bytes(payload)
    with pytest.raises(OSError):
        AULLMForAUDetection.from_pretrained(fold, llm_name_or_path=str(base))


def test_code_that_a_configuration_names_is_not_run(fold, tmp_path):
    (fold / "evil.py").write_text(f"open({str(tmp_path / RAN)!r}, 'w').close()\n")
    classes = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoVideoProcessor": "evil.Processor"}
    edit(fold / "config.json", auto_map=classes, custom_pipelines={"au-detection": {"impl": "evil.Pipeline"}})
    edit(fold / "video_preprocessor_config.json", auto_map=classes)
    AUDetector(fold)
    assert main(["info", str(fold)]) == 0
    assert not (tmp_path / RAN).exists()


@pytest.mark.parametrize(
    "changed",
    [{"llm_dtype": "load"}, {"llm_dtype": "__builtins__"}, {"projector": "__class__"}, {"aus": [10**9]},
     {"num_frames": 10**9}, {"high_dim": 2**40}, {"prompt_segments": [[10**12], "visual"]},
     {"thresholds": {"AU1": "__import__('os')"}}, {"lora": {"r": 10**9, "target_modules": ["q_proj"]}},
     {"text_config": "/etc/passwd"}, {"text_config": {"model_type": "../../evil"}}],
)  # fmt: skip
def test_a_configuration_of_nonsense_is_refused_in_words(fold, changed, capsys):
    edit(fold / "config.json", **changed)
    assert main(["predict", "x.mp4", "--out", str(fold / "x.csv"), "--model", str(fold)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_header_of_safetensors_that_lies_is_refused(fold):
    path = fold / "model.safetensors"
    for header in (
        {"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {"x": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}},
        {"x": {"dtype": "OBJECT", "shape": [1], "data_offsets": [0, 4]}},
    ):
        text = json.dumps(header).encode()
        for length in (len(text), 2**62, 2**31):
            path.write_bytes(struct.pack("<Q", length) + text + bytes(8))
            with pytest.raises(OSError):
                AUDetector(fold)


def test_weights_that_are_links_elsewhere_are_only_weights(fold, tmp_path):
    """A link in a model's folder may be the cache's own; what it leads to is read as weights or not at all."""
    (fold / "model.safetensors").unlink()
    (fold / "model.safetensors").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="damaged") as refused:
        AUDetector(fold)
    assert "root:" not in str(refused.value)


def test_not_a_number_in_weights_gives_no_silent_answers(fold):
    path = fold / "model.safetensors"
    weights = load_file(path)
    weights["classifier.bias"][:] = float("nan")
    save_file(weights, path, {"format": "pt"})
    clip = np.zeros((8, 32, 32), np.uint8)
    table = AUDetector(fold).rows(list(AUDetector(fold).read(clip)))
    assert table[[name for name in table if name.startswith("p_")]].isna().all(axis=None)


# -------------------------------------------------------------------- words of strangers


def test_a_card_is_yaml_that_runs_nothing(fold, tmp_path, capsys):
    for text in (
        f"!!python/object/apply:os.system ['touch {tmp_path / RAN}']",
        f"datasets: !!python/object/new:os.system ['touch {tmp_path / RAN}']",
        "a: &a [x, x, x, x]\nb: &b [*a, *a, *a]\ndatasets: *b",
    ):
        (fold / "README.md").write_text(f"---\n{text}\n---\nwords\n")
        main(["info", str(fold)])
    assert not (tmp_path / RAN).exists()
    assert "Traceback" not in capsys.readouterr().err


def test_a_terminal_is_not_steered(fold, capsys):
    (fold / "README.md").write_text("---\ndatasets: ['\\x1b[2J\\x1b]0;owned\\x07']\n---\n".replace("'", '"'))
    edit(fold / "config.json", llm_revision="\x1b[31mred\x1b[0m\u202e", training_data="\x1b[2J\x1b]0;owned\x07")
    assert main(["info", str(fold)]) == 0
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out and "\u202e" not in shown.out and "\\x1b[2J" in shown.out
    assert main(["info", "no/such/\x1b[31mfolder"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_clip_whose_name_would_steer_a_terminal_does_not(fold, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a\x1b[2Jb.avi", noise(8, 32, 32), rate=50)
    (tmp_path / "c\x1b[31m.avi").write_bytes(b"no video")
    for command in (["predict"], ["explain", "--out", "pictures"]):
        assert main([*command, *sorted(map(str, Path().glob("*.avi"))), "--model", str(fold)]) == 0
        shown = capsys.readouterr()
        assert "\x1b" not in shown.out + shown.err and "a\\x1b[2Jb.avi" in shown.out


def test_a_run_of_yaml_tags_is_refused(tmp_path, capsys):
    from support.tiny_run import train

    path = tmp_path / "x.yaml"
    path.write_text(f"model: !!python/object/apply:os.system ['touch {tmp_path / RAN}']\n")
    assert train(path, tmp_path / "run") == 2
    assert "is not YAML" in capsys.readouterr().err and not (tmp_path / RAN).exists()


def test_texts_that_a_spreadsheet_would_run_are_made_texts(saved, tmp_path, monkeypatch):
    names = ["=cmd|' /C calc'!A0.avi", "+1.avi", "-1.avi", "@SUM(1).avi", "plain=.avi", "\tx.avi"]
    for name in names:
        write_video(tmp_path / "clips" / name.replace("/", "_"), noise(8, 32, 32), rate=50)
    detector = AUDetector(saved)
    monkeypatch.chdir(tmp_path / "clips")
    table = pd.concat(detector.detect([str(path.name) for path in sorted((tmp_path / "clips").iterdir())]))
    assert len(table) == 6 and any(name.startswith("=") for name in table["source"])
    safe = escape_formulas(table)["source"].tolist()
    assert not [name for name in safe if name.startswith(("=", "+", "-", "@", "\t"))] and "plain=.avi" in safe
    out = tmp_path / "aus.csv"
    files = sorted(map(str, Path().iterdir()))
    assert main(["predict", *[f"./{name}" for name in files], "--out", str(out), "--model", str(saved)]) == 0
    assert main(["predict", ".", "--out", str(out), "--model", str(saved), "--overwrite"]) == 0
    for line in out.read_text().splitlines()[1:]:
        assert not line.lstrip('"').startswith(("=", "+", "-", "@", "\t"))


# -------------------------------------------------------------------- tables and clips


def xlsx(path: Path, **parts: bytes) -> Path:
    """A workbook with parts of its archive replaced or added."""
    book, plain = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["Subject", "Filename"])
    book.save(plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if entry.filename not in parts:
                new.writestr(entry, old.read(entry.filename))
        for name, content in parts.items():
            new.writestr(name, content)
    return path


SHEET = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
ENTITIES = b'<?xml version="1.0"?><!DOCTYPE x [%s]><worksheet xmlns="%s"><sheetData><row r="1">'
ENTITIES += b'<c r="A1" t="inlineStr"><is><t>&b;</t></is></c></row></sheetData></worksheet>'


def test_entities_of_xml_neither_grow_nor_fetch(tmp_path):
    """A spreadsheet is XML: entities that double ten times over, or that stand for a file."""
    doubled = b'<!ENTITY a0 "ha">' + b"".join(
        b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12)
    )
    for entities in (doubled + b'<!ENTITY b "&a11;">', b'<!ENTITY b SYSTEM "file:///etc/passwd">'):
        path = xlsx(tmp_path / "t.xlsx", **{"xl/worksheets/sheet1.xml": ENTITIES % (entities, SHEET)})
        try:
            rows = [str(row) for sheet in read_sheets(path, "t.xlsx") for row in sheet.rows]
        except AnnotationError as error:
            rows = [str(error)]
        assert not any("root:" in row or len(row) > 10_000 for row in rows)


def test_a_small_archive_of_a_large_sheet_is_refused(tmp_path):
    path = xlsx(tmp_path / "t.xlsx", **{"xl/worksheets/sheet1.xml": b" " * (200 << 20)})
    assert path.stat().st_size < 1 << 20
    with pytest.raises(AnnotationError, match=r"unpacks to .* bytes and is refused"):
        read_sheets(path, "t.xlsx")


def test_links_of_a_workbook_are_not_followed(tmp_path):
    link = b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    link += b'<Relationship Id="rId1" TargetMode="External" Target="http://127.0.0.1:9/x" Type="x"/></Relationships>'
    path = xlsx(tmp_path / "t.xlsx", **{"xl/externalLinks/_rels/externalLink1.xml.rels": link})
    assert read_sheets(path, "t.xlsx")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".xlsx"])
def test_a_table_that_is_a_pickle_is_refused(tmp_path, payload, suffix):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(payload)
    with pytest.raises(DataError):
        sheets = read_sheets(path, path.name)
        assert sheets and not sheets[0].rows
        raise DataError([])


def test_predictions_that_are_a_pickle_are_refused(tmp_path, payload):
    run = fake_run(tmp_path / "run")
    (run / "predictions.parquet").write_bytes(payload)
    with pytest.raises(Exception, match=r"(?i)parquet"):
        read_run(run)


def test_arrays_of_objects_are_no_clips(tmp_path, payload, saved):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "x.npz").write_bytes(payload)
    table = pd.concat(AUDetector(saved).detect([str(tmp_path / "x.npy"), str(tmp_path / "x.npz")]))
    assert len(table) == 2 and table["reason"].str.contains("no readable video").all()


def test_a_video_of_absurd_size_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    from aullm_hf.data.reading import videos

    path = write_video(tmp_path / "x.avi", noise(4, 64, 64), rate=25)
    monkeypatch.setattr(videos, "MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(DataError, match="frames of 64 x 64 pixels are refused"):
        open_video(path, "x.avi")


# -------------------------------------------------------------------- links


def leaves(root: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("hops", [1, 3])
def test_links_lead_nowhere_from_a_folder_of_clips(saved, tmp_path, absolute, hops):
    """A chain of links, relative or not, out of the folder that was named: each is told, none is followed."""
    clips, outside = tmp_path / "clips", tmp_path / "outside"
    write_video(clips / "fine.avi", noise(8, 32, 32), rate=50)
    write_video(outside / "secret.avi", noise(8, 32, 32), rate=50)
    (outside / "frames").mkdir()
    target = {name: outside / name for name in ("secret.avi", "frames")}
    for name, end in target.items():
        for hop in range(hops):
            link = clips / f"{'z' * hop}{name}"
            link.symlink_to(end if absolute else os.path.relpath(end, clips))
            end = link
    (clips / "loop").symlink_to(clips)
    before = leaves(outside)
    table = pd.concat(AUDetector(saved).detect(str(clips)))
    read = table[table["reason"] == ""]
    assert [Path(source).name for source in read["source"]] == ["fine.avi"]
    assert table["reason"].str.contains("link").sum() == 2 * hops + 1
    assert leaves(outside) == before


def test_a_run_does_not_write_through_links(tmp_path):
    """Where a table of the run is a link, the link is replaced: what it led to stays as it was."""
    run = fake_run(tmp_path / "run")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("results.json", "README.md"):
        (run / name).symlink_to(victim)
    from aullm_hf.evaluation.run_folder import write_json, write_text

    write_json({}, run / "results.json")
    write_text("x", run / "README.md")
    assert victim.read_text() == "mine" and not (run / "results.json").is_symlink()


@pytest.mark.parametrize("what", ["file", "folder", "checkpoint", "fold", "inside", "results"])
def test_links_in_a_run_are_not_uploaded(tmp_path, what, monkeypatch):
    from aullm_hf.hub import push_run
    from support.hub_server import HubServer, reach_the_server

    reach_the_server(monkeypatch)
    run = fake_run(tmp_path / "run")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "config.json").write_text('{"secret": "SECRET"}')
    (secret / "diary.txt").write_text("SECRET")
    checkpoint = run / "folds" / "sub01" / "checkpoint"
    if what == "results":
        report_without_figures(run, monkeypatch, resamples=5)
        (run / "tables" / "results.csv").unlink()
        (run / "tables" / "results.csv").symlink_to(secret / "diary.txt")
    elif what == "file":
        (checkpoint / "diary.txt").symlink_to(secret / "diary.txt")
        (checkpoint / "hard").symlink_to(os.path.relpath(secret / "diary.txt", checkpoint))
    elif what == "folder":
        (checkpoint / "more").symlink_to(secret)
    elif what == "checkpoint":
        shutil.rmtree(checkpoint)
        checkpoint.symlink_to(secret)
    elif what == "fold":
        shutil.move(checkpoint.parent, tmp_path / "elsewhere")
        checkpoint.parent.symlink_to(tmp_path / "elsewhere")
        (checkpoint / "diary.txt").write_text("SECRET")
    else:
        (checkpoint / "deep").mkdir()
        (checkpoint / "deep" / "more").symlink_to(secret)
    with HubServer() as server:
        try:
            push_run(run, "me/demo", folds=["sub01"], main=what == "results", endpoint=server.url, token="x")
        except ValueError as error:
            assert what in ("checkpoint", "fold") and "link" in str(error)
        stored = b"".join(
            server.content(entry)
            for repo in server.repos.values()
            for tree in repo["commits"].values()
            for entry in tree.values()
        )
    assert b"SECRET" not in stored


def test_a_casme2_tree_of_odd_names_reads_nothing_outside(tmp_path):
    from aullm_hf.data import load_clips

    root = casme2_tree(tmp_path / "root")
    folder = next(root.rglob("EP02_01f"))
    for name in ("..%2f..%2fetc", "....", "-rf", "$(touch x)", ";ls", "img1.jpg.sh", "…"):
        (folder / name).write_text("x")
    assert len(load_clips("casme2", root, face="none", cache_dir=tmp_path / "cache")) == 3
