"""What lies in a cache, whether it is sound, what may go, and how several become one.

In: a store. Out: its contents, its damage, what was removed or merged.

>>> from cache import Store
>>> from cache.upkeep import verify
>>> verify(Store("artifacts")).damage
[]
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
