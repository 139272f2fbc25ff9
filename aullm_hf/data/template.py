"""The one face template: where eyes, nose and mouth stand in a crop.

Real clips are aligned to it (`faces.py`), and synthetic faces and animated photographs stand in it.
"""

import numpy as np

# Fractions of the crop's side: the subject's right eye, left eye, nose tip, right and left mouth corner (the subject's
# right is on the image's left). Brows and chin stay inside, where AU1, 2, 4 and 17 show.
TEMPLATE = np.array([[0.34, 0.33], [0.66, 0.33], [0.5, 0.513], [0.367, 0.70], [0.633, 0.70]])
