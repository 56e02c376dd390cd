"""Outputs that something else computed → the cache, as if extracted.

In: files of logits, probabilities or answers, or a decision log; and labels. Out: partitions as
`extract` writes them, under the runtime `import`; what is odd about them is told.

>>> import numpy as np
>>> from cache import Store
>>> from stages.ingest import ImportRequest, import_outputs
>>> np.savez("two.npz", logits=np.array([[2.0, 0.1], [0.3, 1.1]]), labels=np.array([0, 1]))
>>> wanted = ImportRequest("pets", "test", "mine", "two.npz")
>>> import_outputs(Store("new"), wanted).accuracy
1.0
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
