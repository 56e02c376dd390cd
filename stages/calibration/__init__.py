"""Is a score a probability, and does it put the errors last? Temperature, ECE, AURC, AUGRC.

In: logits and labels. Out: each model's temperature and its quality before and after.

>>> import numpy as np
>>> from stages.calibration import aurc
>>> round(aurc(np.array([0.9, 0.8, 0.4]), np.array([True, True, False])), 4)
0.1111
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
