"""`aullm explain`: pictures that open, numbers that are the model's, sentences that say what the numbers say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aullm_hf.commands.main import main
from aullm_hf.inference import AUDetector, explain_clips
from aullm_hf.inference.pictures.wording import entry, sentence, whereabouts
from aullm_hf.model import AULLMVideoProcessor
from aullm_hf.model.explaining import Neighbour
from support.explanations import evidence, peak
from support.tiny import tiny_model
from support.videos import noise, write_folder, write_video


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """A short clip, a folder of frames of the same name, a recording of 2 s, and a text that calls itself a video."""
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "smile.avi", noise(20, 32, 32), rate=100)
    write_folder(folder / "smile", noise(8, 32, 32, seed=1))
    write_video(folder / "talk.avi", noise(50, 32, 32, seed=2), rate=25)
    (folder / "notes.mp4").write_text("this is no video")
    return folder


def told(out: Path) -> dict:
    return json.loads((out / "explanation.json").read_text())


def explain(*arguments) -> int:
    return main(["explain", *map(str, arguments)])


def test_every_clip_has_its_pictures_or_its_reason(clips, checkpoint, tmp_path, capsys):
    names = ("smile.avi", "smile", "notes.mp4")
    assert explain(*(clips / name for name in names), "--model", checkpoint, "--out", tmp_path) == 0
    records = told(tmp_path)["clips"]
    assert [Path(record["source"]).name for record in records] == list(names)
    assert records[2]["reason"] and not records[2]["pictures"] and records[2]["folder"] is None
    folders = [record["folder"] for record in records[:2]]
    assert folders[0] == "smile" and folders[1] != "smile"
    for record in records[:2]:
        assert {"probabilities.png", "face.png", "film_strip.png", "attention.png"} == set(record["pictures"])
        for name in record["pictures"]:
            with Image.open(tmp_path / record["folder"] / name) as picture:
                assert picture.format == "PNG" and min(picture.size) > 300
    printed = capsys.readouterr().out
    assert "2 explained, 1 could not be read" in printed and records[2]["reason"] in printed
    assert all(au["sentence"] in printed for record in records for au in record["aus"])


def test_the_numbers_are_those_of_predict(clips, checkpoint, tmp_path):
    detector = AUDetector(checkpoint)
    (record,) = explain_clips(detector, [clips / "smile.avi"], tmp_path, aus="all")["clips"]
    row = detector.rows(list(detector.read(clips / "smile.avi"))).iloc[0]
    assert record["probabilities"] == pytest.approx({label: row[f"p_{label}"] for label in detector.labels}, abs=1e-5)
    assert [au["au"] for au in record["aus"]] == detector.labels
    for au in record["aus"]:
        assert au["active"] == row[f"active_{au['au']}"] and au["threshold"] == row[f"threshold_{au['au']}"]
        assert au["method"] == "grad-cam" and au["neighbours"] == []
    assert told(tmp_path)["clips"] == [record]


def test_of_a_recording_the_clearest_windows_are_explained_and_all_are_in_its_timeline(clips, checkpoint, tmp_path):
    detector = AUDetector(checkpoint, window=0.5)
    written = explain_clips(detector, [clips / "talk.avi"], tmp_path, most=2, format="svg")
    rows = detector.rows(list(detector.read(clips / "talk.avi")))
    above = np.max([rows[f"p_{label}"] - rows[f"threshold_{label}"] for label in detector.labels], axis=0)
    assert {record["clip"] for record in written["clips"]} == set(np.argsort(-above)[:2].tolist())
    assert written["not_explained"] == len(rows) - 2
    first, second = written["clips"]
    assert "timeline.svg" in first["pictures"] and "timeline.svg" not in second["pictures"]
    drawn = (tmp_path / first["folder"] / "timeline.svg").read_text()
    assert "AU12 Lip corner puller" in drawn and first["folder"] != second["folder"]


def test_a_graph_model_tells_whom_each_au_heard(tmp_path):
    model = tiny_model(mge=True, graph=True, prompt_template="{content}{instruction} AUs:")
    detector = AUDetector(model, processor=AULLMVideoProcessor.for_config(model.config))
    (record,) = explain_clips(detector, [np.stack(noise(12, 32, 32))], tmp_path, aus="all")["clips"]
    assert {"relations.png", "granularity.png"} <= set(record["pictures"])
    assert sum(record["granularity"].values()) == pytest.approx(1, abs=1e-5)
    heard = {au["au"]: {(one["au"], one["relation"]) for one in au["neighbours"]} for au in record["aus"]}
    assert heard["AU1"] == {("AU4", "co-occurring and opposing")} and heard["AU12"] == set()
    assert all(0 <= one["strength"] <= 1 for au in record["aus"] for one in au["neighbours"])
    assert {au["method"] for au in record["aus"]} == {"attention"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--aus", "AU4,AU99"], "aus holds 'AU99'; allowed: 'active', 'all', or AU1, AU4, AU12."),
        (["--most", "0"], "most is 0; allowed: 1 or more"),
        (["--no_face", "--face", "align"], "--no_face and --face align contradict each other"),
        (["--model", "no/such/folder/here"], "no/such/folder/here"),
    ],
)
def test_wrong_settings_are_named(options, said, clips, checkpoint, tmp_path, capsys):
    assert explain(clips / "smile.avi", "--model", checkpoint, "--out", tmp_path, *options) == 2
    assert said in capsys.readouterr().err


def test_the_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        explain("--help")
    assert ended.value.code == 0
    assert "aullm explain CLIP.mp4 --model YOU/REPOSITORY --out pictures" in capsys.readouterr().out


# -------------------------------------------------------------------------- words


def test_a_sentence_says_what_the_numbers_say():
    assert sentence(evidence()) == (
        "AU12 Lip corner puller is active: its probability is 0.90 and its threshold 0.40. The evidence for it is "
        "strongest in the lower left of the picture, late in the clip (attention of the AU's node in the relation "
        "graph). Without that evidence its probability would fall to 0.30. Of its neighbours AU6 Cheek raiser "
        "(co-occurring) raised it most, by 0.12."
    )
    against = evidence(
        counterfactual=-0.05, active=False, method="grad-cam", neighbours=[Neighbour("AU15", "opposing", 0.4, -0.2)]
    )
    said = sentence(against)
    assert "is not active" in said and "(opposing) lowered it most, by 0.20" in said
    assert "What is there speaks against the AU all the same: without it its probability would be 0.95." in said
    quiet = sentence(evidence(counterfactual=0.001, neighbours=[Neighbour("AU6", "co-occurring", 0.3, 0.0)]))
    assert "its probability would be the same" in quiet and "None of its neighbours changed it noticeably." in quiet
    assert "neighbours" not in sentence(evidence(neighbours=[]))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ((0, 0, 0), "the upper left of the picture, early in the clip"),
        ((1, 4, 4), "the middle of the picture, late in the clip"),
        ((1, 8, 8), "the lower right of the picture, late in the clip"),
        ((0, 1, 4), "the upper middle of the picture, early in the clip"),
    ],
)
def test_whereabouts_name_the_part_with_the_evidence(place, said):
    assert whereabouts(peak(*place).numpy()) == said


def test_evidence_on_both_sides_is_not_in_the_middle_and_even_evidence_is_nowhere():
    both = peak(0, 7, 0) + 0.9 * peak(1, 7, 8)
    assert whereabouts(both.numpy()) == "the lower left of the picture, throughout the clip"
    assert whereabouts(np.full((2, 9, 9), 1 / 162)) is None
    nowhere = sentence(evidence(cells=torch.full((2, 9, 9), 1 / 162)))
    assert "No place stands out" in nowhere and "Without that evidence" not in nowhere


def test_an_entry_can_be_read_by_a_program():
    told = json.loads(json.dumps(entry(evidence())))
    assert told["name"] == "Lip corner puller" and told["muscle"] == "zygomaticus major" and told["active"] is True
    assert told["neighbours"][1] == {
        "au": "AU15", "name": "Lip corner depressor", "relation": "opposing", "strength": 0.5, "effect": -0.05
    }  # fmt: skip
