"""How a model runs: preprocessing, precision, device; one module per engine.

In: pictures and a module. Out: float32 logits, and how long they took.

>>> import numpy as np
>>> from stages.runtimes import Preprocessing
>>> grey = Preprocessing(mean=(0.5,), std=(0.25,))
>>> grey.pixels(np.zeros((8, 8), np.uint8)).shape
(1, 8, 8)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
