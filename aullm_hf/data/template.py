"""The one face template: where eyes, nose and mouth stand in a crop.

Real clips are aligned to it (`faces.py`), and synthetic faces and animated photographs stand in it.
"""

import numpy as np

from .errors import FaceError

# Fractions of the crop's side: the subject's right eye, left eye, nose tip, right and left mouth corner (the subject's
# right is on the image's left). Brows and chin stay inside, where AU1, 2, 4 and 17 show.
TEMPLATE = np.array([[0.34, 0.33], [0.66, 0.33], [0.5, 0.513], [0.367, 0.70], [0.633, 0.70]])


def similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, 3): the rotation, scale and shift that bring `points` nearest to `target`, in least squares."""
    centre, goal = points.mean(axis=0), target.mean(axis=0)
    source, wanted = points - centre, target - goal
    spread = (source**2).sum()
    if spread < 1e-6:
        raise FaceError("the five points of the face fall together; no alignment is possible")
    a = (source * wanted).sum() / spread
    b = (source[:, 0] * wanted[:, 1] - source[:, 1] * wanted[:, 0]).sum() / spread
    turn = np.array([[a, -b], [b, a]])
    return np.hstack([turn, (goal - turn @ centre)[:, None]])
