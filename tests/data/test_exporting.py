"""Out of the cache and back; and licensed faces only to private repositories."""

import datasets
import numpy as np
import pytest

from aullm_hf import load_clips
from aullm_hf.data import DataError, LicenceError, push_clips, report_of, to_parquet
from aullm_hf.data.exporting import save_clips


@pytest.fixture
def clips(samm, load):
    return load("samm", samm)


@pytest.mark.parametrize("form", ["parquet", "folder of parquet", "save_to_disk"])
def test_an_export_comes_back_the_same(clips, tmp_path, form):
    if form == "save_to_disk":
        clips.save_to_disk(str(tmp_path / "out"))
        path = tmp_path / "out"
    else:
        path = to_parquet(clips, tmp_path / "out" / "clips.parquet")
        path = path.parent if form == "folder of parquet" else path
    back = load_clips(path)
    assert back.features == clips.features
    for row, old in zip(back, clips, strict=True):
        assert {name: row[name] for name in row if name != "frames"} == {n: old[n] for n in old if n != "frames"}
        np.testing.assert_array_equal(row["frames"], old["frames"])


@pytest.mark.parametrize("form", ["parquet", "folder"])
def test_an_export_draws_no_bar_and_leaves_those_of_others(clips, tmp_path, capfd, form):
    datasets.enable_progress_bars()
    try:
        to_parquet(clips, tmp_path / "out") if form == "parquet" else save_clips(clips, tmp_path / "out")
        assert not datasets.utils.are_progress_bars_disabled()
    finally:
        datasets.disable_progress_bars()
    assert (tmp_path / "out").exists() and capfd.readouterr().err == ""


def test_a_saved_folder_keeps_its_report(clips, tmp_path):
    clips.save_to_disk(str(tmp_path / "out"))
    assert report_of(load_clips(tmp_path / "out")).clips == 3


def test_other_datasets_are_refused(clips, tmp_path):
    clips.remove_columns("aus").save_to_disk(str(tmp_path / "out"))
    with pytest.raises(DataError, match="lacks the column aus"):
        load_clips(tmp_path / "out")
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(DataError, match="is a file without clips"):
        load_clips(tmp_path / "file.txt")


class Hub:
    """What the check asks of the Hub."""

    def __init__(self, private):
        self.private = private

    def __call__(self, token=None):
        return self

    def repo_info(self, repo_id, repo_type):
        assert repo_type == "dataset"
        if self.private is None:
            from huggingface_hub.errors import RepositoryNotFoundError

            from aullm_hf.hub_client import httpx

            request = httpx.Request("GET", "http://localhost")
            raise RepositoryNotFoundError("404", response=httpx.Response(404, request=request))
        return self


@pytest.fixture
def pushed(monkeypatch):
    calls = []
    monkeypatch.setattr("datasets.Dataset.push_to_hub", lambda self, repo, **kwargs: calls.append((repo, kwargs)))
    return calls


def test_licensed_clips_are_pushed_privately_or_not_at_all(clips, pushed, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub(None))
    with pytest.raises(LicenceError, match=r"private=False\) is refused: samm shows people.*i_hold_the_rights=True"):
        push_clips(clips, "me/samm", private=False)
    push_clips(clips, "me/samm")
    push_clips(clips, "me/samm", private=True)
    assert [kwargs["private"] for _, kwargs in pushed] == [True, True]
    monkeypatch.setattr("huggingface_hub.HfApi", Hub(False))
    with pytest.raises(LicenceError, match="the repository exists and is public"):
        push_clips(clips, "me/samm", private=True)
    push_clips(clips, "me/samm", private=False, i_hold_the_rights=True)
    assert pushed[-1][1]["private"] is False


def test_what_is_made_of_licensed_clips_is_refused_too(clips, pushed, tmp_path):
    for some in (
        clips.select([0, 1]),
        clips.filter(lambda row: row["subject"] == "006"),
        clips.map(lambda row: {"n": 1}),
        clips.with_format("numpy"),
        clips.remove_columns("aus"),
        clips.remove_columns("dataset"),
        clips.select_columns(["frames"]),
        clips.shuffle(seed=0).sort("subject"),
        load_clips(to_parquet(clips, tmp_path / "clips.parquet")),
    ):
        with pytest.raises(LicenceError, match="is refused"):
            push_clips(some, "me/x", private=False)
    assert not pushed


def test_synthetic_clips_may_be_shown_and_not_what_stands_beside_them(clips, pushed, tmp_path):
    from datasets import concatenate_datasets

    synthetic = load_clips("synthetic", subjects=2, clips_per_subject=2, cache_dir=tmp_path)
    push_clips(synthetic, "me/synthetic")
    assert pushed == [("me/synthetic", {"private": None})]
    with pytest.raises(LicenceError, match="samm shows people"):
        push_clips(concatenate_datasets([synthetic, clips]), "me/both", private=False)


def test_clips_are_a_plain_dataset_and_only_push_clips_asks(clips, pushed):
    """What the README says: the check is in `push_clips`, and a Dataset's own `push_to_hub` is the user's decision."""
    from datasets import Dataset

    assert type(clips) is Dataset
    clips.push_to_hub("me/samm", private=True)
    assert pushed == [("me/samm", {"private": True})]
