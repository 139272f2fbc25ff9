"""A run folder as the training runner leaves it, made of random numbers: no model, no data set."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from aullm_hf.checksums import checksums
from aullm_hf.evaluation import fit_calibration, leave_one_subject_out, write_table
from aullm_hf.evaluation.labels import labels_fingerprint
from aullm_hf.evaluation.run_folder import with_digest

AUS = (1, 4, 12)


def fake_dataset(subjects: int = 3, clips: int = 12, aus=AUS, *, dataset: str = "synthetic", seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    names = [f"sub{i + 1:02d}" for i in range(subjects) for _ in range(clips)]
    present = rng.random((len(names), len(aus))) < 0.4
    return {
        "clip_id": [f"{name}/EP{i % clips:02d}" for i, name in enumerate(names)],
        "dataset": [dataset] * len(names),
        "subject": names,
        "aus": [[au for au, here in zip(aus, row, strict=True) if here] for row in present],
    }


def fake_run(
    path: Path,
    *,
    subjects: int = 3,
    clips: int = 12,
    aus=AUS,
    dataset: str = "synthetic",
    licensed: bool = False,
    seeds=(0,),
    inner: str = "holdout",
    final: bool = False,
) -> Path:
    data = fake_dataset(subjects, clips, aus, dataset=dataset)
    names = [f"AU{au}" for au in aus]
    labels = np.array([[au in row for au in aus] for row in data["aus"]])
    tables, inners, entries = [], [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 7])
        for fold in leave_one_subject_out(data, inner=inner, seed=seed, aus=aus):
            z = (rng.normal(size=labels.shape) + 2.5 * labels).astype("float32")
            held = list(fold.inner)
            keys = [fold.subject_of_row[row] for row in held]
            if inner == "none":
                entry = {"seen_subjects": sorted(fold.seen_subjects)}
                p = 1 / (1 + np.exp(-z.astype("float64")))
            else:
                calibration = fit_calibration(
                    z[held], labels[held], names, subjects=keys, seen_subjects=fold.train_subjects
                )
                entry, p = calibration.to_dict(), calibration.probabilities(z)
            entry = {"fold": fold.name, "seed": seed, "test_subjects": sorted(fold.test_subjects), **entry}
            entries.append(entry | {"seconds": 1.5})
            folder = path / "folds" / (fold.name if len(seeds) == 1 else f"{fold.name}-seed{seed}")
            checkpoint = folder / "checkpoint"
            checkpoint.mkdir(parents=True)
            (checkpoint / "config.json").write_text(
                json.dumps({"model_type": "aullm", "fold": fold.name, "training_data": dataset})
            )
            (checkpoint / "model.safetensors").write_bytes(rng.bytes(3000))
            (checkpoint / "modeling_aullm.py").write_text("# the model's code\n")
            (folder / "log.json").write_text(
                json.dumps([{"step": s, "loss": 2.0 / s + 0.1 * rng.random()} for s in range(1, 9)])
            )
            for name, rows, kept in (("predictions", fold.test, tables), ("inner", held, inners)):
                if rows:
                    kept.append(_table(data, fold.name, seed, rows, names, z, p, labels))
                    write_table(kept[-1], folder / f"{name}.parquet")
            entries[-1] = finish_fold(folder, entries[-1])
    write_table(pd.concat(tables), path / "predictions.parquet")
    if inners:
        write_table(pd.concat(inners), path / "inner.parquet")
    entries.sort(key=lambda entry: (entry["seed"], entry["fold"]))
    (path / "folds.json").write_text(json.dumps(entries, indent=2))
    if final:
        (path / "final" / "checkpoint").mkdir(parents=True)
        (path / "final" / "checkpoint" / "config.json").write_text('{"model_type": "aullm", "final": true}')
        (path / "final" / "checkpoint" / "model.safetensors").write_bytes(b"final" * 500)
    info = {
        "name": path.name,
        "config": {
            "model": {"llm_name_or_path": "tiny", "projector": "efp"},
            "data": {"name": dataset, "root": "/data/secret/root"},
            "protocol": {"kind": "loso"},
            "training": {"learning_rate": 1e-3, "hub_token": "hf_SECRETSECRETSECRET"},
        },
        "seeds": list(seeds),
        "versions": {"aullm_hf": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "data": {
            "datasets": [dataset],
            "licensed": licensed,
            "label_release": "easy, generator seed 0" if not licensed else "public 2019, 255 clips",
            "agreements": {dataset: f"https://owners.example/{dataset}"} if licensed else {},
            "fingerprint": "f" * 64,
            "labels_fingerprint": labels_fingerprint(data, aus),
            "n_clips": len(data["clip_id"]),
            "n_subjects": subjects,
        },
        "aus": list(aus),
        "protocol": "loso",
        "inner": inner,
        "base_llm": {"name": "Qwen/Qwen2-1.5B", "revision": "abc123", "licence": "apache-2.0"},
        "model_kind": "aullm",
    }
    (path / "run.json").write_text(json.dumps(info, indent=2))
    return path


def finish_fold(folder: Path, entry: dict) -> dict:
    """fold.json, with the checksums of what is there by now."""
    entry = with_digest(entry | {"files": checksums(folder, leave_out=("fold.json",))})
    (folder / "fold.json").write_text(json.dumps(entry))
    return entry


def _table(data, fold, seed, rows, names, z, p, labels) -> pd.DataFrame:
    rows = list(rows)
    table = pd.DataFrame({key: [data[key][row] for row in rows] for key in ("clip_id", "dataset", "subject")})
    table = table.assign(fold=fold, seed=seed)
    columns = {f"z_{au}": z[rows, i] for i, au in enumerate(names)}
    columns |= {f"p_{au}": p[rows, i] for i, au in enumerate(names)}
    columns |= {f"y_{au}": labels[rows, i].astype("int8") for i, au in enumerate(names)}
    return table.assign(**columns)


def report_without_figures(run: Path, monkeypatch, **options) -> dict:
    """write_report, less the second that matplotlib takes."""
    from aullm_hf.evaluation import report

    monkeypatch.setattr(report, "_installed", lambda module, *_: module != "matplotlib")
    return report.write_report(run, **options)
