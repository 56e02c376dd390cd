"""What recognises a repeated picture: perceptual hashes as binary keys of a fixed length.

In: decoded pictures, uint8 [n, H, W(, 3)]. Out: keys, uint8 [n, L]; what each hash costs, and how
much a picture may change before it is no longer known.

>>> import numpy as np
>>> from stages.hashes import hash_of
>>> pictures = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
>>> hash_of("canonical-dhash").digest(pictures).shape
(2, 8)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
