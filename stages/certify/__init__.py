"""Promises that hold with a stated probability, whatever the images: learn, then test.

In: sweeps of cascades against a reference on images without a part in the choice, ε and δ.
Out: the cheapest λ that passes, with its p-value, or why none does.

>>> import numpy as np
>>> from stages.certify import binomial
>>> binomial(np.array([3]), n=500, epsilon=0.02).round(4)  # 3 errors of 500 where 2 % may be
array([0.0098])
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
