"""What takes long to import, for processes to be forked from.

The garbage collector leaves it alone: it would look at all of it while it comes, and copy its pages in each process.
"""

import gc

gc.disable()
import pandas  # noqa: E402, F401
import peft  # noqa: E402, F401
import torch  # noqa: E402, F401
import transformers.modeling_utils  # noqa: E402, F401

gc.freeze()
gc.enable()
