"""Micro-expression clips as `datasets`: the published data sets, your own clips, and a synthetic benchmark.

Public names are resolved on first use: `aullm_hf.data.facs` or `.faces` come without `datasets` being imported.
"""

from importlib import import_module

_HOME_OF = {
    "load_clips": ".loading",
    "load_intervals": ".published.long_videos",
    "read_tool_table": ".reading.other_tools",
    "Report": ".report",
    "report_of": ".report",
    "push_clips": ".exporting",
    "to_parquet": ".exporting",
    "check_clips": ".checks",
    "aus_of": ".labels",
    "au_names": ".labels",
    "multi_hot": ".labels",
    "label_matrix": ".labels",
    "intensity_matrix": ".labels",
    "PUBLISHED_AUS": ".labels",
    "AUS": ".facs",
    "au_info": ".facs",
    "au_name": ".facs",
    "parse_aus": ".annotations",
    "clip_features": ".schema",
    "frames_only": ".schema",
    "animate": ".synthetic.animation",
    "FaceRecipe": ".faces",
    "FaceFinder": ".faces",
    "DataError": ".errors",
    "AnnotationError": ".errors",
    "ClipError": ".errors",
    "FaceError": ".errors",
    "UnsafePathError": ".errors",
    "LicenceError": ".errors",
}


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"aullm_hf.data has no public name '{name}'; it has {', '.join(sorted(_HOME_OF))}")
    return getattr(import_module(_HOME_OF[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(_HOME_OF)


__all__ = list(_HOME_OF)
