"""What a request costs: the table of measured costs, its curves over batch sizes, and prices.

In: costs that were profiled or brought in from elsewhere, and which requests each model answers.
Out: joules, milliseconds or multiply-adds per request with their intervals, and what is saved.

>>> from stages.costs import amount
>>> amount(0.003626, "J")
'3.626 mJ'
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
