"""Who covers whose mistakes: one matrix product for all pairs.

In: which images each model gets right, bool [M, N]. Out: a float64 [M, M] matrix per measure.

>>> import numpy as np
>>> from stages.heterogeneity import matrix
>>> right = np.array([[True, True, False], [False, True, True]])
>>> float(matrix(right)[0, 1].round(4))  # exactly one is right on 2 images of 3
0.6667
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
