"""Requests → what a cascade would have answered and cost, without running it.

In: scores, a cascade, a stream of requests, a memory, prices. Out: one row of figures.

>>> from stages.simulate import make
>>> make(3, duplicates=1.0).sample_ids.tolist()
[0, 1, 2, 0, 1, 2]
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
