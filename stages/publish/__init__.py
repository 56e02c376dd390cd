"""A cache to give away: without images' names, with a data card, in the tier that was asked for.

In: a cache. Out: a copy that anybody reads, marked unfinished until it is whole.

>>> from cache import Store
>>> from stages import publish
>>> copied = publish.run(Store("artifacts"), Store("copy"), publish.Wanted("ties"))
>>> copied.tier
'scores'
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
