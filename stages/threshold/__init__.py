"""scores → λ, and which images fit it: never silently those that are reported.

In: scores, pairs of models, the plan. Out: the operating points *best* and *1se* of every pair,
as other images tell them; `stages.cascade.fit` chooses each λ, exactly.

>>> from stages.threshold import folds
>>> folds(10).tolist() == folds(10).tolist(), sorted(set(folds(10).tolist()))
(True, [0, 1, 2, 3, 4])
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
