"""LLMs that lie on this machine under a name of their own, `local:NAME`, because the Hub does not have them.

A checkpoint names its LLM so that others understand it: never by a folder that only its author has. The LLMs lie in
the Hugging Face cache, so HF_HOME moves them too.
"""

import os
import re

from huggingface_hub import constants

LOCAL = "local:"


def local_llm_folder(name: str) -> str:
    """Where the LLM `local:NAME` lies, whether it is there or not."""
    if not re.fullmatch(rf"{LOCAL}\w[\w.-]*", name):
        raise ValueError(f"The LLM's name is {name!r}; allowed: {LOCAL}NAME, of letters, digits, dots and dashes.")
    return os.path.join(constants.HF_HOME, "local_llms", name.removeprefix(LOCAL))


def resolve_llm(name: str) -> str:
    """What a loader of transformers takes for `name`: the folder of a local LLM, any other name as it is."""
    if not name.startswith(LOCAL):
        return name
    folder = local_llm_folder(name)
    if not os.path.isfile(os.path.join(folder, "config.json")):
        raise OSError(
            f"The base LLM {name!r} is not on this machine: there is no {folder}. `python -m aullm_hf.real_llm` "
            "writes it there (HF_HOME says where the cache is); or pass llm_name_or_path='/path/to/a/copy'."
        )
    return folder


__all__ = ["LOCAL", "local_llm_folder", "resolve_llm"]
