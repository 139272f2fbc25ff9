"""The benchmark on animated photographs: what each clip is labelled, and that figures are those of their own group."""

import argparse

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("cv2")

import cv2
from benchmarks import photographs
from benchmarks.photographs import au_rows, group_rows, measure

import support.tiny_run  # noqa: F401  finds `benchmarks`
from aullm_hf.data.synthetic.wild_plans import wild_plans
from aullm_hf.data.template import TEMPLATE
from support.tiny import tiny_model


class Finder:
    """Finds a face in the middle of a picture that is not black."""

    def __init__(self, path=None):
        pass

    def find(self, gray: np.ndarray):
        return argparse.Namespace(points=TEMPLATE * len(gray)) if gray.any() else None


def test_every_photograph_with_a_face_does_what_its_wild_clips_do(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for name, picture in (("a.png", rng.integers(60, 90, (100, 100))), ("b.png", np.zeros((100, 100))),
                          ("c.jpg", rng.integers(170, 200, (400, 400)))):  # fmt: skip
        cv2.imwrite(str(tmp_path / name), picture.astype(np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "web.png").write_bytes(b"RIFF\0\0\0\0WEBP")
    seen, table_of = [], photographs.au_rows
    monkeypatch.setattr(photographs, "FaceFinder", Finder)
    detector = photographs.AUDetector
    monkeypatch.setattr(photographs, "AUDetector", lambda model, **options: detector(tiny_model(), **options))
    monkeypatch.setattr(photographs, "au_rows", lambda clips, *given: seen.append(clips) or table_of(clips, *given))
    tables = measure(argparse.Namespace(photographs=tmp_path, model=None, face_model=None, clips=4, resamples=5))
    said = capsys.readouterr().out
    assert "b.png: no face is found, so it is left out" in said
    assert "web.png: is no JPEG" in said and said.count("so it is left out") == 2
    (clips,) = seen
    assert clips["photograph"].tolist() == ["a.png"] * 4 + ["c.jpg"] * 4
    plans = wild_plans(subjects=4, clips_per_subject=4)
    for label in tiny_model().config.labels:
        expected = [int(label[2:]) in plan.aus for plan in (*plans[:4], *plans[8:12])]
        assert clips[f"y_{label}"].tolist() == expected, label
    whole, *groups = tables["by what can be measured in the picture"]
    assert whole["clips"] == 8 and whole["photographs"] == 2
    assert [(row[""], row[" "], row["clips"]) for row in groups] == [
        ("brightness", "dim", 4), ("brightness", "bright", 4), ("size", "small", 4), ("size", "medium", 4)
    ]  # fmt: skip


def test_a_coloured_photograph_is_as_bright_as_any_other_picture_of_the_package(tmp_path):
    red = np.zeros((100, 100, 3), np.uint8)
    red[..., 2] = 200  # OpenCV's order: blue, green, red
    cv2.imwrite(str(tmp_path / "red.png"), red)
    detector = photographs.AUDetector(tiny_model(), face="none")
    clips = photographs.read_animated(tmp_path, detector, 2, Finder())
    assert clips["brightness"].to_numpy() == pytest.approx(0.299 * 200, abs=1)


def test_a_folder_without_a_face_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "FaceFinder", Finder)
    detector = photographs.AUDetector
    monkeypatch.setattr(photographs, "AUDetector", lambda model, **options: detector(tiny_model(), **options))
    with pytest.raises(SystemExit, match="no photograph with a face"):
        measure(argparse.Namespace(photographs=tmp_path, model=None, face_model=None, clips=4, resamples=5))


def test_figures_are_counts_over_the_clips_of_their_group():
    rng = np.random.default_rng(1)
    count = 200
    clips = pd.DataFrame({"photograph": rng.choice(list("abcdef"), count)})
    clips["brightness"] = clips["photograph"].map(dict(zip("abcdef", (10, 89, 90, 120, 160, 250), strict=True)))
    clips["size"] = 60.0
    for label in ("AU1", "AU12"):
        clips[f"y_{label}"] = rng.random(count) < 0.3
        clips[f"p_{label}"] = np.round(rng.random(count) + 0.3 * clips[f"y_{label}"], 1)
        clips[f"active_{label}"] = clips[f"p_{label}"] > 0.7
    aus, mean = ["AU1", "AU12"], []
    for label, row in zip(aus, au_rows(clips, aus, 20), strict=False):
        shown = clips[f"y_{label}"]
        here, away = (clips.loc[rows, f"p_{label}"].to_numpy() for rows in (shown, ~shown))
        pairs = (here[:, None] > away) + 0.5 * (here[:, None] == away)
        mean.append(pairs.mean())
        assert row["AUC"].startswith(f"{pairs.mean():.2f} [") and row["clips with it"] == shown.sum()
    whole, dim, medium, bright, size = group_rows(clips, aus, 20)
    assert whole["AUC"].startswith(f"{np.mean(mean):.2f} [") and size | {"": "all", " ": ""} == whole
    assert [row["photographs"] for row in (dim, medium, bright)] == [2, 2, 2]
    part = clips[clips["photograph"].isin(["a", "b"])]
    idle = ~(part["y_AU1"] | part["y_AU12"])
    alarms = (part["active_AU1"] | part["active_AU12"])[idle].mean()
    found = sum((part[f"y_{au}"] & part[f"active_{au}"]).sum() for au in aus) / part[["y_AU1", "y_AU12"]].sum().sum()
    assert dim["false alarms"].startswith(f"{alarms:.2f} [") and dim["found"].startswith(f"{found:.2f} [")
    assert dim["clips"] == len(part)
