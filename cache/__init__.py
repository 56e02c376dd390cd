"""The Parquet contract: where tables lie, how they are written whole, and what made them.

In: a folder or URI. Out: partitions that are complete or not there, with their provenance.

>>> from cache import Partition
>>> Partition.of("samples", dataset="digits", split="test").path
'samples/dataset=digits/split=test'
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
