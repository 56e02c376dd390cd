"""One writer of a partition at a time, whoever and wherever they are: processes, machines, buckets.

In: a store and a name. Out: a lock that is held, shared or waited for, or BusyError.

>>> from tempfile import mkdtemp
>>> from cache import Store, lock
>>> with lock(Store(mkdtemp()), "samples/dataset=digits"):
...     pass  # nobody else writes there meanwhile
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
