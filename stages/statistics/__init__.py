"""How sure is a figure? Intervals, paired differences and the bootstrap: the one place for each.

In: counts, or arrays over images. Out: an `Interval`, the value of every figure that is not exact.

>>> right = share(9, 10)
>>> f"{right.value:.0%} ({right.low:.0%} to {right.high:.0%})"
'90% (60% to 98%)'
"""

from stages.statistics.bootstrap import Choice, Chooser, Procedure, procedure
from stages.statistics.differences import FEW, Paired, change, images_needed, paired, within_one_se
from stages.statistics.intervals import LEVEL, NORMAL, Interval, from_ends, mean_of, with_ends, z_of
from stages.statistics.repeats import repeated_change, repeated_share
from stages.statistics.shares import least, most, share

__all__ = [
    "FEW", "LEVEL", "NORMAL", "Choice", "Chooser", "Interval", "Paired", "Procedure", "change",
    "from_ends", "images_needed", "least", "mean_of", "most", "paired", "procedure",
    "repeated_change", "repeated_share", "share", "with_ends", "within_one_se", "z_of",
]  # fmt: skip
