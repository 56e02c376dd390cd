"""images → logits and timings: every model once over every image, each image decoded once.

In: sources and models with their weights. Out: partitions of logits and timings in the cache. A
killed run goes on after its last whole part: see `resume`.
Running it takes torch:

    stages.extract.run(store, [open_split("digits", "test")], choose("digits", ["all"]), options)

>>> from stages.extract import ENGINES
>>> sorted(ENGINES)
['local', 'ray']
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
