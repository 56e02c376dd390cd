"""logits → answers and how sure each is. ScoreSet is the aligned table that all stages below read.

In: logits in the cache. Out: predictions and scores, float64, rows aligned by sample id.

>>> from cache import Store
>>> from stages import scores
>>> test = scores.load(Store("artifacts"), "ties", "test", ["small"])
>>> test.score("maxp", 0).shape == test.labels.shape
True
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
