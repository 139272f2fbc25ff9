"""The run's clips: loaded, joined, without those that are not annotated, and with the controls applied."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import DataError, aus_of, load_clips, report_of
from ..data.cache import code_fingerprint
from ..data.faces import FaceRecipe
from ..data.loading import read_raw_dataset
from ..data.reading.records import Policies
from ..data.synthetic import release
from ..evaluation import Fold
from .settings import ConfigError, DataSettings

SYNTHETIC = {"synthetic-casme2": "casme2", "synthetic-samm": "samm"}


@contextmanager
def as_config_errors() -> Iterator[None]:
    """Values that the data room refuses come from the run's settings."""
    try:
        yield
    except (DataError, ConfigError):
        raise
    except ValueError as error:
        raise ConfigError(f"data: {error}") from error


def aus_of_run(settings: DataSettings) -> list[int]:
    """The AU numbers of the run, in the order of the logits."""
    only = settings.aus[0] if len(settings.aus) == 1 else None
    named = only is not None and not only.upper().removeprefix("AU").isdigit()
    return list(aus_of(only if named else settings.aus))


def clips_per_subject(settings: DataSettings) -> int | str:
    text = settings.clips_per_subject
    return int(text) if text.isdigit() else text


def needs_root(settings: DataSettings) -> list[str]:
    """The data sets of the run that no folder was given for."""
    return [name for name in settings.datasets if name not in SYNTHETIC and name not in roots(settings)]


def roots(settings: DataSettings) -> dict[str, str]:
    """Data set -> the folder it was unpacked into."""
    folders = {}
    for text in settings.root or []:
        name, equals, folder = text.partition("=")
        if equals:
            folders[name] = folder
        elif len(real := [name for name in settings.datasets if name not in SYNTHETIC]) == 1:
            folders[real[0]] = text
        else:
            raise ConfigError(f"root is {text!r}; for several data sets write NAME=FOLDER, of {', '.join(real)}.")
    if unknown := sorted(set(folders) - set(settings.datasets)):
        raise ConfigError(f"root names {unknown[0]!r}; the run's data sets are {', '.join(settings.datasets)}.")
    return folders


def synthetic_arguments(settings: DataSettings, name: str) -> dict[str, Any]:
    """Which synthetic clips the run has; the easy ones show its AUs, the others all of their domain's."""
    return {
        "domain": SYNTHETIC[name],
        "difficulty": settings.difficulty,
        "subjects": settings.subjects,
        "clips_per_subject": clips_per_subject(settings),
        "aus": aus_of_run(settings) if settings.difficulty == "easy" else None,
        "seed": settings.clips_seed,
    }


@dataclass
class RunData:
    """The annotated clips of a run, where they come from, and how their faces were cropped."""

    clips: Any  # a datasets.Dataset
    label_release: str
    fingerprint: str
    face: dict | None

    @property
    def clips_cropped(self) -> bool:
        """Whether clips come cropped to the face: no recipe of the run crops them."""
        return self.face is None or self.face["face"] == "none"


def load_run_data(settings: DataSettings, size: int) -> RunData:
    """Every data set of the run, in one."""
    from datasets import concatenate_datasets

    _refuse_missing(settings)
    with as_config_errors():
        parts = {name: _load_part(settings, name, size) for name in settings.datasets}
    releases = [_release_of(settings, name, part) for name, part in parts.items()]
    faces = [report_of(part).recipe for name, part in parts.items() if name not in SYNTHETIC]
    clips = concatenate_datasets(list(parts.values())) if len(parts) > 1 else next(iter(parts.values()))
    fingerprint = data_fingerprint(settings, size, parts)
    annotated = [row for row, aus in enumerate(clips["aus"]) if aus is not None]
    if len(annotated) < len(clips):
        print(f"{len(clips) - len(annotated)} of {len(clips)} clips have no AU annotation and are left out.")
        clips = clips.select(annotated)
    if settings.labels == "shuffled":
        clips = shuffle_labels(clips, settings.clips_seed)
        releases.append("SHUFFLED over all clips, as a control")
    if not faces and settings.difficulty == "wild":  # drawn as real clips are once their faces are aligned
        faces = [FaceRecipe(size=size).to_dict()]
    return RunData(clips, "; ".join(releases), fingerprint, face=faces[0] if faces else None)


def check_data(settings: DataSettings) -> None:
    """Refuse what reading the clips would fail at, without decoding a frame.

    Raises:
        ConfigError, DataError: a folder is not given, is not there, or does not hold the data set.
    """
    _refuse_missing(settings)
    with as_config_errors():
        for name in settings.datasets:
            if name not in SYNTHETIC:
                own = {key: value for key, value in _reading_arguments(settings).items() if key != "on_error"}
                read_raw_dataset(name, roots(settings)[name], Policies(**own, prefer_crops=settings.face == "none"))


def _refuse_missing(settings: DataSettings) -> None:
    if missing := needs_root(settings):
        raise ConfigError(
            f"{', '.join(missing)} is handed out by its owners: say where you unpacked it with --root FOLDER "
            "(of several data sets NAME=FOLDER each), or look at the plan with --dry_run."
        )


def _load_part(settings: DataSettings, name: str, size: int):
    """The clips of one data set."""
    if name in SYNTHETIC:
        return load_clips("synthetic", **synthetic_arguments(settings, name), size=size)
    return load_clips(name, roots(settings)[name], **_reading_arguments(settings), face=settings.face, size=size)


def _reading_arguments(settings: DataSettings) -> dict[str, Any]:
    """How a real data set is read."""
    return {name: getattr(settings, name) for name in ("either", "ref", "static", "corrections", "on_error")}


def data_fingerprint(settings: DataSettings, size: int, parts: dict[str, Any]) -> str:
    """SHA-256 of what was asked for, the rows and files that it was made of, and the code that makes clips of them.

    No pixel is in it: two machines may compute them with another last bit, and can still share a run.
    """
    digest = hashlib.sha256()
    for name, clips in parts.items():
        synthetic = name in SYNTHETIC
        if synthetic:
            asked = synthetic_arguments(settings, name)
        else:
            report = report_of(clips)
            asked = {**_reading_arguments(settings), "face": report.recipe, "files": report.files}
        digest.update(json.dumps([name, size, asked, code_fingerprint(synthetic)], sort_keys=True).encode())
        columns = [clips[key][:] for key in ("clip_id", "subject", "onset", "apex", "offset", "aus", "intensities")]
        digest.update(json.dumps(list(zip(*columns, strict=True))).encode())
    return digest.hexdigest()


def refuse_unmarked(intensities: np.ndarray, folds: Iterable[Fold]) -> None:
    """An output for intensities has something to learn in every fold: some clip that it trains on is marked."""
    for fold in folds:
        if not (intensities[list(fold.train)] > 0).any():
            raise ConfigError(
                f"intensity is True, but none of the {len(fold.train)} training clips of fold {fold.name!r} has the "
                "intensity of any of the run's AUs marked, A to E. SAMM, synthetic-samm and tables of your own that "
                "write `4B+12C` have them; for other data leave `intensity` out."
            )


def data_name(settings: DataSettings, name: str) -> str:
    """What a data set is called where a model says what it was trained on."""
    return f"{name} {release(settings.difficulty)} ({settings.difficulty})" if name in SYNTHETIC else name


def training_data(settings: DataSettings, datasets: Collection[str]) -> str:
    """What a model says it was trained on: the data sets, whether they are synthetic, and whether it is a control."""
    synthetic = [name in SYNTHETIC for name in datasets]
    text = ", ".join(data_name(settings, name) for name in datasets)
    if any(synthetic):
        text += ", SYNTHETIC faces" if all(synthetic) else ", partly SYNTHETIC faces"
    controls = ["labels shuffled"] * (settings.labels == "shuffled") + ["first frames only"] * (
        settings.frames == "onset"
    )
    return text + "".join(f"; CONTROL: {control}" for control in controls)


def _release_of(settings: DataSettings, name: str, clips) -> str:
    """Which labels these are: the table as it was recognised, its count, and how its doubtful cells were read."""
    if name in SYNTHETIC:
        return f"synthetic {release(settings.difficulty)}, {settings.difficulty}, seed {settings.clips_seed}"
    report = report_of(clips)
    policies = f"either={settings.either}, ref={settings.ref}, corrections={settings.corrections}"
    return f"{name}: {report.release or report.title}, {len(clips)} clips, {policies}"


def shuffle_labels(clips, seed: int):
    """The same labels, permuted over all clips: nothing is left to learn."""
    order = np.random.default_rng([seed, 0x5AFF]).permutation(len(clips))
    for name in ("aus", "intensities"):
        column, feature = list(clips[name]), clips.features[name]
        clips = clips.remove_columns(name).add_column(name, [column[row] for row in order], feature=feature)
    return clips
