"""From clips to rows: the same frames give the same numbers in whatever form, and every clip has a row."""

import threading
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from aullm_hf import detect_aus
from aullm_hf.data.faces import FaceRecipe
from aullm_hf.inference import AUDetector, name_aus
from aullm_hf.inference.columns import CLIP_COLUMNS
from aullm_hf.model import AULLMVideoProcessor
from support.videos import noise, write_folder, write_video

P = ["p_AU1", "p_AU4", "p_AU12"]


# -------------------------------------------------------------------- the same frames


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("count", [2, 3, 4, 6, 23])  # three frames are not three colours
def test_video_folder_and_array_give_identical_probabilities(tmp_path, make_detector, colour, count):
    frames = noise(count, colour=colour)
    folder = write_folder(tmp_path / "f", frames, first=97)
    sources = [write_video(tmp_path / "v.mkv", frames), folder, np.stack(frames), torch.from_numpy(np.stack(frames)),
               frames, sorted(folder.iterdir(), key=lambda path: int(path.stem[3:]))]  # fmt: skip
    detector = make_detector()
    tables = [detector.rows(list(detector.read(source))) for source in sources]
    for table in tables[1:]:
        np.testing.assert_array_equal(table[P].to_numpy(), tables[0][P].to_numpy())
        assert table["frames_read"].item() == count
    together = pd.concat(detector.detect(sources))
    np.testing.assert_allclose(together[P].to_numpy(), np.repeat(tables[0][P].to_numpy(), len(sources), 0), atol=1e-6)


def test_the_numbers_are_the_models_own(make_detector, model, processor):
    clip = np.stack(noise(9, 32, 32))
    table = detect_aus(clip, model, processor=processor)
    with torch.no_grad():
        expected = model.probabilities(model(processor(clip)["pixel_values"]).logits)[0]
    np.testing.assert_allclose(table[P].to_numpy()[0], expected.double().numpy(), atol=1e-7)
    for label, p in zip(model.config.labels, expected.tolist(), strict=True):
        assert table[f"threshold_{label}"].item() == model.config.thresholds[label]
        assert table[f"active_{label}"].item() == (p >= model.config.thresholds[label])


def test_timestamps_are_right_where_the_frame_rate_varies(tmp_path, make_detector):
    times = [0, 40, 50, 200, 203, 480, 700, 701, 950, 999, 1500]
    path = write_video(tmp_path / "vfr.mkv", noise(11), times=times)
    detector = make_detector()
    (clip,) = detector.read(path)
    assert (clip.start, clip.end, clip.frames_read) == (0.0, pytest.approx(1.5), 11)
    windows = list(make_detector(window=0.5, stride=0.5).read(path))
    assert [(window.start, window.end, window.frames_read) for window in windows] == [
        (pytest.approx(0.0), pytest.approx(0.48), 6),
        (pytest.approx(0.7), pytest.approx(0.999), 4),
        (pytest.approx(1.0), pytest.approx(1.5), 0),  # a gap, with its reason
        (pytest.approx(1.5), pytest.approx(1.5), 1),
    ]
    assert [window.reason for window in windows] == [
        "", "", "there is no frame between 1.000 and 1.500 s", "one frame shows no motion"
    ]  # fmt: skip


def test_short_clips_are_read(tmp_path, make_detector):
    path = write_video(tmp_path / "tenth.mkv", noise(3), rate=30)  # a tenth of a second
    (clip,) = make_detector().read(path)
    assert not clip.reason and clip.frames_read == 3 and "some are repeated" in clip.warning


# -------------------------------------------------------------------- rows


def test_a_row_has_every_column_in_order(make_detector):
    table = pd.concat(make_detector().detect([np.stack(noise(8)), "gone.mp4"]))
    assert list(table.columns) == [*CLIP_COLUMNS, *P, "active_AU1", "active_AU4", "active_AU12", "threshold_AU1",
                                   "threshold_AU4", "threshold_AU12", "trained_on", "model", "revision"]  # fmt: skip
    good, bad = table.iloc[0], table.iloc[1]
    assert good["reason"] == "" and good[P].notna().all() and good["source"] == "array 0"
    assert bad["reason"] == "no such file or folder" and bad[P].isna().all() and pd.isna(bad["active_AU4"])
    assert bad["threshold_AU4"] == good["threshold_AU4"]


def test_a_table_of_nothing_still_has_its_columns(model, processor):
    table = detect_aus([], model, processor=processor)
    assert len(table) == 0 and "p_AU12" in table


def test_every_source_has_its_rows_in_order_whatever_the_batches(tmp_path, make_detector):
    sources = []
    for at in range(11):
        sources.append(write_video(tmp_path / f"{at}.mkv", noise(10 + 7 * (at % 3), seed=at)))
        if at % 4 == 0:
            (tmp_path / f"{at}.mp4").touch()
            sources.append(tmp_path / f"{at}.mp4")
    alone = make_detector(window=0.4, stride=0.2)
    expected = pd.concat([alone.rows(list(alone.read(source))) for source in sources], ignore_index=True)
    for batch_size, workers in ((1, 1), (3, 2), (64, 3)):
        detector = make_detector(window=0.4, stride=0.2, batch_size=batch_size, workers=workers)
        table = pd.concat(detector.detect(sources), ignore_index=True)
        assert table["source"].tolist() == expected["source"].tolist()
        assert table["reason"].tolist() == expected["reason"].tolist()
        np.testing.assert_allclose(table[P].to_numpy(), expected[P].to_numpy(), atol=1e-6)
        from aullm_hf.inference.reading.sources import expand_sources

        each = list(detector.detect_each(list(expand_sources(sources))))
        assert [source.name for source, _ in each] == [str(source) for source in sources]
        assert sum(len(rows) for _, rows in each) == len(expected)
        assert all(set(rows["source"]) == {source.name} for source, rows in each)


def test_names_and_muscles_are_spelled_out(make_detector):
    long = name_aus(pd.concat(make_detector().detect([np.stack(noise(8)), np.stack(noise(8, seed=1))])))
    assert long[["au", "name"]].drop_duplicates().values.tolist() == [
        ["AU1", "Inner brow raiser"], ["AU4", "Brow lowerer"], ["AU12", "Lip corner puller"]
    ]  # fmt: skip
    assert len(long) == 6 and long["probability"].between(0, 1).all() and "zygomaticus major" in set(long["muscle"])


def test_frames_of_several_sizes_are_no_clip(tmp_path, make_detector):
    frames = [*noise(3, 48, 64), *noise(3, 50, 64)]
    for source in (frames, write_folder(tmp_path / "f", frames)):
        (clip,) = make_detector().read(source)
        assert "several sizes (64 x 48 and 64 x 50 pixels)" in clip.reason


def test_an_unreadable_image_is_named(tmp_path, make_detector):
    folder = write_folder(tmp_path / "f", noise(6))
    (folder / "img4.png").write_bytes((folder / "img4.png").read_bytes()[:100])
    (clip,) = make_detector().read(folder)
    assert clip.reason == "img4.png: the file is truncated, its end is missing"


# -------------------------------------------------------------------- settings


def test_a_face_crop_other_than_in_training_warns_in_every_row(model, processor, face_processor, face_model):
    clip = np.stack(noise(8))
    with pytest.warns(UserWarning, match="trained on aligned faces, but clips were taken as they are"):
        table = detect_aus(clip, model, processor=face_processor, face="none")
    assert "trained on aligned faces" in table["warning"].item() and table["reason"].item() == ""
    with pytest.warns(UserWarning, match="clips that came cropped; faces were cut out here in another way"):
        AUDetector(model, processor=processor, face="align", face_model=face_model)
    other = AULLMVideoProcessor.for_config(model.config, face={**face_processor.face, "detector": "0" * 64})
    with pytest.warns(UserWarning, match=r"another detector \(\w{12}\) than in training \(0{12}\)"):
        AUDetector(model, processor=other, face_model=face_model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AUDetector(model, processor=face_processor, face_model=face_model)
        cropped = AULLMVideoProcessor.for_config(model.config, face=FaceRecipe("none").to_dict())
        AUDetector(model, processor=cropped, face="none")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"face": "auto"}, "face='auto' is not allowed; choose one of None, 'align', 'follow', 'none'"),
        ({"faces": "some"}, "faces='some'"),
        ({"window": -1}, "window=-1"),
        ({"fps": 0}, "fps=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"workers": 1.5}, "workers=1.5"),
        ({"device": "gpu"}, r"device='gpu' cannot be used here \(.*\); give cpu, cuda"),
        ({"device": "cuda:99"}, "device='cuda:99' cannot be used here"),
        ({"device": "meta"}, "device='meta' cannot be used here"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_allowed(make_detector, options, said):
    with pytest.raises(ValueError, match=said):
        make_detector(**options)


def test_a_checkpoint_brings_its_processor_and_names_itself(checkpoint, model, processor):
    clip = np.stack(noise(8))
    table = detect_aus(clip, str(checkpoint))
    ours = detect_aus(clip, model, processor=processor)
    # Mapped weights lie otherwise in memory than fresh ones: a product with a single row may add in another order.
    np.testing.assert_allclose(table[P].to_numpy(), ours[P].to_numpy(), atol=1e-6)
    assert table["model"].item() == str(checkpoint)


def test_threads_share_a_detector(make_detector):
    detector = make_detector()
    clips = [np.stack(noise(8, seed=seed)) for seed in range(8)]
    expected = [detector.rows(list(detector.read(clip)))[P].to_numpy() for clip in clips]
    got: dict[int, np.ndarray] = {}

    def work(at: int) -> None:
        for _ in range(3):
            got[at] = detector.rows(list(detector.read(clips[at])))[P].to_numpy()

    threads = [threading.Thread(target=work, args=(at,)) for at in range(len(clips))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for at, values in enumerate(expected):
        np.testing.assert_array_equal(got[at], values)


def test_an_error_nobody_foresaw_is_a_row_too(make_detector, monkeypatch, caplog):
    from aullm_hf.inference.reading import clips as reading

    def broken(*_):
        raise RuntimeError("an odd file")

    monkeypatch.setattr(reading, "open_frames", broken)
    (clip,) = make_detector().read(np.stack(noise(4)))
    assert clip.reason == "RuntimeError: an odd file" and "could not be read" in caplog.text


def test_memory_does_not_grow_with_the_clips(tmp_path, make_detector):
    """What Python and NumPy hold after many clips is what they held after few."""
    import gc
    import tracemalloc

    path = write_video(tmp_path / "clip.mkv", noise(8, 32, 32))
    detector = make_detector(batch_size=8)
    held = []
    tracemalloc.start()
    for at, _ in enumerate(detector.detect([path] * 160)):
        if at % 5 == 4:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(held) == 4 and held[-1] - held[1] < 200_000  # bytes, over 80 clips
