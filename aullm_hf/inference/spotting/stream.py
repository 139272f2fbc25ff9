"""Expressions in a stream that has no end: what is seen of one changes for some seconds, and then no more."""

from collections.abc import Sequence

from .intervals import Interval, spot_in_signal
from .network import load_spotter
from .signals import SHORTEST, Stretch
from .spotter import THRESHOLD

HORIZON = 12.0  # seconds of motion that are kept
SETTLED = 5.0  # seconds after its apex from which on an expression does not change: all that it depends on is known
EVERY = 0.25  # seconds between two looks
KEPT = 60.0  # seconds that a settled expression is remembered


class StreamSpotter:
    """The expressions of the last minute, by looks at the motion of the last seconds.

    Args:
        threshold: of the score, as for `ExpressionSpotter`.
    """

    def __init__(self, threshold: float = THRESHOLD):
        self.network, self.threshold = load_spotter(), threshold
        self.settled: list[Interval] = []
        self.unsettled: list[Interval] = []
        self._looked = self._settled_until = float("-inf")

    def update(self, stretches: Sequence[Stretch], now: float) -> None:
        """Look again, once in a while. `stretches`: the motion of the last HORIZON seconds; `now` never falls."""
        if now - self._looked < EVERY - 1e-6:
            return
        self._looked, until = now, now - SETTLED
        found: list[Interval] = []
        for stretch in stretches:
            if stretch.seconds >= SHORTEST:
                first, motion = stretch.even()
                found += spot_in_signal(self.network, motion, first, self.threshold)
        kept = [one for one in self.settled if one.apex > now - KEPT]
        self.settled = kept + [one for one in found if self._settled_until <= one.apex < until]
        self.unsettled = [one for one in found if one.apex >= until]
        self._settled_until = until


__all__ = ["HORIZON", "KEPT", "SETTLED", "StreamSpotter"]
