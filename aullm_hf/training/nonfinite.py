"""Whether training still has numbers, looked at without waiting for the device.

The newest loss is kept where it was computed, and the first that is no number stays. It is fetched where the device is
waited for anyway: when something is logged, before a checkpoint is written, at the end.
"""

from collections.abc import Mapping

import torch

STATISTICS = ("running_mean", "running_var")  # of batch norm: what no gradient reaches can be spoiled too


class NotFinite(ArithmeticError):
    """A loss, a weight or a logit is nan or infinite: the step (from 1), its clips, its loss and the loss's terms."""

    def __init__(
        self, what: str, *, step: int | None = None, clips: list[str] | None = None, terms: dict | None = None
    ):
        super().__init__(what)
        self.step, self.clips, self.terms = step, clips or [], terms or {}


class LossWatch:
    """The newest loss with its step and terms; from the first one that is no number on, that one."""

    def __init__(self):
        self.names: tuple[str, ...] = ()
        self.seen: torch.Tensor | None = None  # (2 + terms,): step, loss, terms

    def see(self, step: int, loss: torch.Tensor, parts: Mapping[str, torch.Tensor]) -> None:
        self.names = ("loss", *parts)
        number = torch.full((), step, dtype=torch.float32, device=loss.device)  # exact up to 16 million steps
        new = torch.stack([number, *(one.detach().float() for one in (loss, *parts.values()))])
        self.seen = new if self.seen is None else torch.where(self.seen.isfinite().all(), new, self.seen)

    def first_bad(self, gather) -> tuple[int, dict[str, float]] | None:
        """(step, its loss and terms) of the first that was no number, of any process."""
        if self.seen is None:
            return None
        for step, *values in gather(self.seen[None]).tolist():  # (processes, 2 + terms)
            if not all(map(_is_number, values)):
                return int(step), dict(zip(self.names, values, strict=True))
        return None


def spoiled(model: torch.nn.Module) -> list[str]:
    """Names of the trained parameters and the norms' statistics that hold what is no number; waits for the device."""
    looked_at = {name: one for name, one in model.named_parameters() if one.requires_grad}
    looked_at |= {name: one for name, one in model.named_buffers() if name.rpartition(".")[2] in STATISTICS}
    if not looked_at:
        return []
    finite = torch.stack([one.detach().isfinite().all() for one in looked_at.values()]).tolist()
    return [name for name, whole in zip(looked_at, finite, strict=True) if not whole]


def _is_number(value: float) -> bool:
    return value - value == 0
