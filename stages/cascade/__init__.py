"""The decision: which models answer an image, in which order, and whose answer is taken.

In: scores of models on the same images. Out: what a cascade does to each image, and every λ.

>>> import numpy as np
>>> from stages.softmax import SCORES
>>> limit = Ordering.of(SCORES["maxp"], np.array([0.9, 0.4])).limit(1)  # one of two goes to B
>>> str(Cascade.of(("small", "large"), "maxp", limit, postcheck=True))
'small → large by maxp with post-check at λ = 0.65'
"""

from stages.cascade.decision import Answers, Rules, decide, run_stages
from stages.cascade.memory import MemoryPolicy, Remembered, Table, distinct, remember, size_bytes
from stages.cascade.ordering import Ordering, group_ends
from stages.cascade.rule import cut, takes_b, trusted
from stages.cascade.sweep import OBJECTIVES, Fit, fit, gains, pair_gains, prefix
from stages.cascade.values import ALWAYS, AT, NEVER, ORACLE, Cascade, Limit, Outcome, Stage

__all__ = [
    "ALWAYS", "AT", "NEVER", "OBJECTIVES", "ORACLE", "Answers", "Cascade", "Fit", "Limit",
    "MemoryPolicy", "Ordering", "Outcome", "Remembered", "Rules", "Stage", "Table", "cut", "decide",
    "distinct", "fit", "gains", "group_ends", "pair_gains", "prefix", "remember", "run_stages",
    "size_bytes", "takes_b", "trusted",
]  # fmt: skip
