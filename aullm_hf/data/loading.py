"""`load_clips`: the one call from a name or a path to a `datasets.Dataset` of clips."""

import os
from dataclasses import asdict
from inspect import signature
from pathlib import Path

from ..arguments import check_choice, check_flag, check_path, check_whole, shown
from .cache import cached, fingerprint
from .exporting import load_export, save_clips
from .faces import FaceFinder, FaceRecipe, find_face_model, model_digest
from .published import casme, casme2, casme3, fourdme, mmew, samm, smic
from .reading import own
from .reading.matching import read_published
from .reading.records import Layout, Policies, RawDataset
from .report import Report

LAYOUTS: dict[str, Layout] = {
    module.LAYOUT.name: module.LAYOUT for module in (casme, casme2, samm, smic, mmew, fourdme, casme3)
}
ON_ERROR = ("raise", "skip")


def load_clips(
    name_or_path: str | os.PathLike,
    root: str | os.PathLike | None = None,
    *,
    on_error: str = "raise",
    either: str = "literature",
    ref: str = "keep",
    static: str = "drop",
    corrections=True,
    face: str = "align",
    size: int = 64,
    fit: str = "pad",
    face_model: str | os.PathLike | None = None,
    table: str | os.PathLike | None = None,
    images: str | os.PathLike | None = None,
    dataset_name: str = "own",
    workers: int | None = None,
    cache_dir: str | os.PathLike | None = None,
    rebuild: bool = False,
    **options,  # of the synthetic clips: difficulty, domain, subjects, ...
):
    """Clips as a `datasets.Dataset`, one row per clip; built once, then read from the cache.

    Args:
        name_or_path: "casme2", "samm", "casme", "mmew", "4dme", "casme3" or "smic", with `root`; "synthetic"; "own",
            with `root`; or a path: your clips with a table beside them, or clips that were exported.
        root: the folder that the data set was unpacked into.
        on_error: "raise" lists all that is wrong in one error; "skip" loads the rest and lists it in the report.
        either: what "R12 or R14" means: "literature" (the published readings), "first", or "drop" (neither counts).
        ref: whether AUs written as ref(..) count: "keep" or "drop".
        static: the same for 4DME's "(k)", AUs that are held during the whole clip.
        corrections: True, False, or the ids of known corrections to leave out.
        face: "align" finds the face in the onset frame and crops the clip to it; "none" takes frames as they are.
        size: pixels per side of the frames.
        fit: how a frame becomes square with face="none": "pad" or "crop". It is never squashed.
        face_model: the path of YuNet's .onnx file; by default AULLM_FACE_MODEL, else the Hub's.
        table: which table counts, where a root holds several (relative to the root).
        images: which image folder counts, where a root holds several (relative to the root).
        dataset_name: the value of the column `dataset` for your own clips.
        workers: threads that decode; by default one per core, at most 16.
        cache_dir: where built clips are kept; by default the cache of `datasets`.
        rebuild: build again what is in the cache.
        options: of the synthetic clips, as `synthetic_clips` takes them: `difficulty`, `domain`, `subjects`, ..

    Example:

    ```python
    >>> from aullm_hf import load_clips
    >>> clips = load_clips("synthetic", difficulty="easy", subjects=2, clips_per_subject=3)
    >>> len(clips), clips[0]["clip_id"].split("/")[0]
    (6, 'synthetic-casme2')

    ```

    Real data: `load_clips("casme2", "/data/CASME2")`, `load_clips("own", "/data/my_clips", face="none")`.
    """
    check_choice("on_error", on_error, ON_ERROR)
    check_flag("rebuild", rebuild)
    if workers is not None:
        check_whole("workers", workers, 1, 1 << 16)
    check_path("name_or_path", name_or_path, "a data set's name, or the path of clips")
    for argument, value in {"root": root, "face_model": face_model, "table": table, "images": images}.items():
        if value is not None:
            check_path(argument, value, "a path, or None")
    if cache_dir is not None:
        check_path("cache_dir", cache_dir, "a folder, or None")
    if not isinstance(dataset_name, str) or not dataset_name:
        raise ValueError(f"dataset_name={shown(dataset_name)} is not allowed; give a name")
    name = os.fspath(name_or_path)
    if name == "synthetic":
        if root is not None:
            raise ValueError("the synthetic clips have no root; leave it out")
        return _synthetic(size=size, workers=workers, cache_dir=cache_dir, rebuild=rebuild, **options)
    if options:
        raise TypeError(f"load_clips() has no option {', '.join(map(repr, options))}")
    if root is None and name not in LAYOUTS and Path(name).exists():
        if (exported := load_export(Path(name))) is not None:
            return exported
        name, root = "own", name
    policies = Policies(
        either=either,
        ref=ref,
        static=static,
        corrections=corrections if isinstance(corrections, bool) else _ids(corrections),
        table=None if table is None else os.fspath(table),
        images=None if images is None else os.fspath(images),
        prefer_crops=face == "none",
    )
    recipe, finder = resolve_face_options(face=face, size=size, fit=fit, face_model=face_model)
    raw = read_raw_dataset(name, root, policies, dataset_name)
    return build_or_load(
        raw, policies, recipe, finder, on_error=on_error, workers=workers, cache_dir=cache_dir, rebuild=rebuild
    )


def _ids(corrections) -> tuple[str, ...]:
    ids = [corrections] if isinstance(corrections, str) else corrections
    if not isinstance(ids, list | tuple | set | frozenset) or not all(isinstance(one, str) for one in ids):
        raise ValueError(f"corrections={shown(corrections)} is not allowed; give True, False, or a list of ids")
    return tuple(sorted(ids))


def read_raw_dataset(name: str, root, policies: Policies, dataset_name: str = "own") -> RawDataset:
    """Everything that is known of the clips before a frame is decoded."""
    if name != "own" and name not in LAYOUTS:
        raise ValueError(
            f"there is no data set {name!r}, and no folder or file of that name; "
            f"the data sets are {', '.join(LAYOUTS)}, synthetic and own"
        )
    if root is None:
        title = LAYOUTS[name].title if name in LAYOUTS else "your clips and their table"
        raise ValueError(f"load_clips({name!r}, root): root is the folder that holds {title}")
    check_path("root", root, "the folder that holds the clips")
    if name == "own":
        return own.read_own(root, policies, dataset_name)
    return smic.read_smic(root, policies) if name == "smic" else read_published(LAYOUTS[name], root, policies)


def resolve_face_options(
    *, face: str, size: int, fit: str = "pad", face_model=None
) -> tuple[FaceRecipe, FaceFinder | None]:
    """The recipe, with the digest of the detector that will be used."""
    if isinstance(face, str) and face == "none":
        return FaceRecipe(face="none", size=size, fit=fit), None
    FaceRecipe(face=face, size=size, fit=fit)  # a wrong option is refused before a model is looked for
    path = find_face_model(face_model)
    return FaceRecipe(face=face, size=size, fit=fit, detector=model_digest(path)), FaceFinder(path)


def build_or_load(
    raw: RawDataset,
    policies: Policies,
    recipe: FaceRecipe,
    finder: FaceFinder | None,
    *,
    on_error: str,
    workers: int | None,
    cache_dir,
    rebuild: bool,
):
    from .builder import build
    from .threads import default_workers

    if workers is not None:
        check_whole("workers", workers, 1, 1 << 16)
    chosen = {name: value for name, value in asdict(policies).items() if name != "prefer_crops" and value is not None}
    report = Report.about(raw, {**chosen, "on_error": on_error}, recipe)
    files = [*raw.files, *((f.path, f.size, f.mtime) for record in raw.records for f in record.frames)]
    options = {"report": report.to_dict(), "problems": [problem.to_dict() for problem in raw.problems]}
    return cached(
        raw.name,
        fingerprint(name=raw.name, options=options, files=files),
        lambda directory: build(
            raw, report, recipe, finder, directory, on_error=on_error, workers=workers or default_workers()
        ),
        cache_dir=cache_dir,
        rebuild=rebuild,
    )


def _synthetic(*, size: int, workers: int | None, cache_dir, rebuild: bool, **options):
    """The synthetic benchmark, kept in the same cache."""
    from .synthetic.clips import synthetic_clips

    options["size"] = size
    for option, value in options.items():
        if option not in signature(synthetic_clips).parameters:
            raise TypeError(f"load_clips('synthetic') has no option {option!r}")
        every = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(one, str | int | float | None) for one in every):
            raise TypeError(f"{option}={shown(value)} is not allowed; synthetic_clips says what is")
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    key = fingerprint(name="synthetic", options=plain)

    def build(directory: Path) -> None:
        save_clips(synthetic_clips(workers=workers, **options), directory)

    return cached("synthetic", key, build, cache_dir=cache_dir, rebuild=rebuild)
