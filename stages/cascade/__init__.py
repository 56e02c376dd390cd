"""The decision: which models answer an image, in which order, and whose answer is taken.

In: scores of models on the same images. Out: what a cascade does to each image, and every λ. Of one
image `rule` says whether A is trusted and whether B's answer counts (post-check).

>>> import numpy as np
>>> from stages.scores.registry import SCORES
>>> limit = Ordering.of(SCORES["maxp"], np.array([0.9, 0.4])).limit(1)  # one of two goes to B
>>> str(Cascade.of(("small", "large"), "maxp", limit, postcheck=True))
'small → large by maxp with post-check at λ = 0.65'
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
