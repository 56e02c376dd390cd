"""How sure is a figure? Intervals, paired differences and the bootstrap: the one place for each.

In: counts, or arrays over images. Out: an `Interval`, the value of every figure that is not exact.

>>> right = share(9, 10)
>>> f"{right.value:.0%} ({right.low:.0%} to {right.high:.0%})"
'90% (60% to 98%)'
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
