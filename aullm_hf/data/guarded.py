"""The Dataset class of clips. Its own file, because it needs `datasets` at import."""

import copy

from datasets import Dataset

from .exporting import check_push

_STAYING = ("select", "filter", "map", "shuffle", "sort", "shard", "skip", "take", "flatten_indices", "cast", "repeat")


class Clips(Dataset):
    """A `datasets.Dataset`; only `push_to_hub` differs: it looks at the licence first."""

    @classmethod
    def of(cls, dataset: Dataset) -> "Clips":
        if isinstance(dataset, cls):
            return dataset
        clips = copy.copy(dataset)
        clips.__class__ = cls
        return clips

    def push_to_hub(self, repo_id, *args, private=None, i_hold_the_rights=False, **kwargs):
        """As `Dataset.push_to_hub`; clips that show people go to private repositories, and nowhere else.

        i_hold_the_rights: say True only if you may publish these faces and labels.
        """
        private = check_push(self, repo_id, private, i_hold_the_rights, kwargs.get("token"))
        return super().push_to_hub(repo_id, *args, private=private, **kwargs)


def _staying(name: str):
    inherited = getattr(Dataset, name)

    def method(self, *args, **kwargs):
        return Clips.of(inherited(self, *args, **kwargs))

    method.__name__, method.__doc__ = name, inherited.__doc__
    return method


for _name in _STAYING:
    setattr(Clips, _name, _staying(_name))
