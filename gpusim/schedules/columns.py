"""Types of columns: one-dimensional arrays with an entry for each of many alike."""

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
#: One, or a column of them.
Number = float | Floats
