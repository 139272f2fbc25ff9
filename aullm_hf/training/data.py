"""The run's clips: loaded, joined, without those that are not annotated, and with the controls applied."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import DataError, aus_of, load_clips, report_of
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
    found = {}
    for text in settings.root or []:
        name, equals, folder = text.partition("=")
        if equals:
            found[name] = folder
        elif len(real := [name for name in settings.datasets if name not in SYNTHETIC]) == 1:
            found[real[0]] = text
        else:
            raise ConfigError(f"root is {text!r}; for several data sets write NAME=FOLDER, of {', '.join(real)}.")
    if unknown := sorted(set(found) - set(settings.datasets)):
        raise ConfigError(f"root names {unknown[0]!r}; the run's data sets are {', '.join(settings.datasets)}.")
    return found


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
    """The annotated clips of a run, which labels they carry, and how their faces were cut out."""

    clips: Any  # a datasets.Dataset
    label_release: str
    face: dict | None


def load_run_data(settings: DataSettings, size: int) -> RunData:
    """Every data set of the run, in one."""
    from datasets import concatenate_datasets

    if missing := needs_root(settings):
        raise ConfigError(
            f"{', '.join(missing)} is handed out by its owners: say where you unpacked it with --root FOLDER "
            "(of several data sets NAME=FOLDER each), or look at the plan with --dry_run."
        )
    parts, releases, faces = [], [], []
    with as_config_errors():
        for name in settings.datasets:
            part, release, face = _load_part(settings, name, size)
            parts.append(part)
            releases.append(release)
            faces += [face] if name not in SYNTHETIC else []
    clips = parts[0] if len(parts) == 1 else concatenate_datasets(parts)
    annotated = [row for row, aus in enumerate(clips["aus"]) if aus is not None]
    if len(annotated) < len(clips):
        print(f"{len(clips) - len(annotated)} of {len(clips)} clips have no AU annotation and are left out.")
        clips = clips.select(annotated)
    if settings.labels == "shuffled":
        clips = shuffle_labels(clips, settings.clips_seed)
        releases.append("SHUFFLED over all clips, as a control")
    return RunData(clips, "; ".join(releases), face=faces[0] if faces else None)


def _load_part(settings: DataSettings, name: str, size: int) -> tuple[Any, str, dict | None]:
    """(clips, label release, face recipe) of one data set."""
    if name in SYNTHETIC:
        clips = load_clips("synthetic", **synthetic_arguments(settings, name), size=size)
        return clips, f"synthetic, {settings.difficulty}, seed {settings.clips_seed}", None
    clips = load_clips(
        name,
        roots(settings)[name],
        either=settings.either,
        ref=settings.ref,
        static=settings.static,
        corrections=settings.corrections,
        face=settings.face,
        size=size,
        on_error=settings.on_error,
    )
    return clips, release_of(name, clips, settings), report_of(clips).recipe


def release_of(name: str, clips, settings: DataSettings) -> str:
    """Which labels these are: the table as it was recognised, its count, and how its doubtful cells were read."""
    report = report_of(clips)
    policies = f"either={settings.either}, ref={settings.ref}, corrections={settings.corrections}"
    return f"{name}: {report.release or report.title}, {len(clips)} clips, {policies}"


def shuffle_labels(clips, seed: int):
    """The same labels on other clips, whoever's: what is left to learn is nothing."""
    order = np.random.default_rng([seed, 0x5AFF]).permutation(len(clips))
    aus = list(clips["aus"])
    shuffled = [aus[row] for row in order]
    return clips.remove_columns("aus").add_column("aus", shuffled, feature=clips.features["aus"])
