"""From a video, a folder of frames or an array to named Action Units."""

from importlib import import_module

_HOME_OF = {
    "AUDetector": "detecting",
    "detect_aus": "detecting",
    "ExpressionSpotter": "spotting.spotter",
    "spot_expressions": "spotting.spotter",
    "ReadClip": "reading.cropping",
    "explain_clips": "explaining",
    "export_onnx": "onnx_models",
    "write_explained_video": "explained_video",
    "name_aus": "results",
}


def __getattr__(name: str):  # lazily, so that `aullm --help` imports neither torch nor OpenCV
    if name not in _HOME_OF:
        raise AttributeError(f"aullm_hf.inference has no name '{name}'; it has {', '.join(sorted(_HOME_OF))}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


__all__ = [
    "AUDetector",
    "ExpressionSpotter",
    "ReadClip",
    "detect_aus",
    "explain_clips",
    "export_onnx",
    "name_aus",
    "spot_expressions",
    "write_explained_video",
]
