"""What must not leave this machine inside a configuration: secrets, and the folders of the person who ran it."""

import re
from collections.abc import Mapping
from typing import Any

_SECRET_NAME = re.compile(r"(^|_)(token|secret|password|api_key)$")


def redact(value: Any) -> Any:
    """A configuration as it may be shown: without secrets, and with the last name only of every path."""
    if isinstance(value, Mapping):
        return {key: redact(part) for key, part in value.items() if not _is_secret(str(key), part)}
    if isinstance(value, list | tuple):
        return [redact(part) for part in value]
    return _last_name(value)


def redact_model_paths(config: Any) -> Any:
    """A model's configuration with the last name only of every folder that it was made from."""
    if isinstance(config, Mapping):
        return {
            key: _last_name(part) if str(key).endswith("name_or_path") else redact_model_paths(part)
            for key, part in config.items()
        }
    return config


def _last_name(value: Any) -> Any:
    """The last name of a path on somebody's machine; anything else as it is."""
    if isinstance(value, str) and (value.startswith(("/", "~", "\\\\")) or re.match(r"[A-Za-z]:[\\/]", value)):
        return ".../" + re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return value


def _is_secret(key: str, value: Any) -> bool:
    return isinstance(value, str) and bool(_SECRET_NAME.search(key.lower()) or re.search(r"\bhf_\w{10,}", value))
