"""`load_clips`: the one call from a name or a path to a `datasets.Dataset` of clips."""

from .cache import cached, fingerprint


def load_clips(name_or_path, root=None, **options):
    if name_or_path == "synthetic":
        return _synthetic(**options)
    raise NotImplementedError


def _synthetic(*, cache_dir=None, rebuild: bool = False, **options):
    """The embedded benchmark, kept in the same cache as the rest."""
    from .synthetic import synthetic_clips

    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    key = fingerprint(name="synthetic", options=plain)
    return cached(
        "synthetic",
        key,
        lambda directory: synthetic_clips(**options).save_to_disk(str(directory)),
        cache_dir=cache_dir,
        rebuild=rebuild,
    )
