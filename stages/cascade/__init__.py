"""The decision: which models answer an image, in which order, and whose answer is taken.

In: scores of models on the same images. Out: what a cascade does to each image, and every λ.

>>> from types import SimpleNamespace
>>> import numpy as np
>>> right = np.array([[True, False], [True, True]])
>>> sure = np.array([[0.9, 0.4], [0.8, 0.7]])
>>> known = SimpleNamespace(predictions=right.astype(int), correct=right, index="ab".index,
...                         score=lambda name, m: sure[m])
>>> decide(known, Cascade.of("ab", "maxp", 0.5)).stage.tolist()
[0, 1]
"""

from stages.cascade.decision import Answers, Rules, decide, run_stages
from stages.cascade.memory import MemoryPolicy, Remembered, Table, distinct, remember, size_bytes
from stages.cascade.rule import cut, takes_b, trusted
from stages.cascade.sweep import (
    OBJECTIVES,
    Fit,
    Ordering,
    fit,
    gains,
    group_ends,
    pair_gains,
    prefix,
)
from stages.cascade.values import ALWAYS, AT, NEVER, ORACLE, Cascade, Limit, Outcome, Stage

__all__ = [
    "ALWAYS", "AT", "NEVER", "OBJECTIVES", "ORACLE", "Answers", "Cascade", "Fit", "Limit",
    "MemoryPolicy", "Ordering", "Outcome", "Remembered", "Rules", "Stage", "Table", "cut", "decide",
    "distinct", "fit", "gains", "group_ends", "pair_gains", "prefix", "remember", "run_stages",
    "size_bytes", "takes_b", "trusted",
]  # fmt: skip
