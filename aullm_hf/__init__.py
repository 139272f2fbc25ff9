"""AU-LLM and AULLM++ for facial Action Unit detection, as a Hugging Face model package.

The public names are resolved on first use, so that importing the package stays instant: neither torch nor transformers
is imported until something needs them.
"""

from importlib import import_module

from .version import __version__

_HOME_OF = {
    "AULLMConfig": "aullm_hf.model",
    "AULLMModel": "aullm_hf.model",
    "AULLMForAUDetection": "aullm_hf.model",
    "AULLMVideoProcessor": "aullm_hf.model",
    "build_tiny_llm": "aullm_hf.tiny_llm",
    "load_clips": "aullm_hf.data",
    "leave_one_subject_out": "aullm_hf.evaluation",
    "cross_domain": "aullm_hf.evaluation",
    "score_predictions": "aullm_hf.evaluation",
    "detect_aus": "aullm_hf.inference",
    "spot_expressions": "aullm_hf.inference",
}


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"aullm_hf has no public name '{name}'; it has {', '.join(sorted(_HOME_OF))}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*_HOME_OF, "__version__"])


__all__ = ["__version__", *_HOME_OF]
