"""Perceptual hashes of decoded pictures, as fixed-length binary keys, a batch at a time.

>>> import numpy as np
>>> from stages.hashes import hash_of
>>> pictures = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
>>> hash_of("canonical-dhash").digest(pictures).shape
(2, 8)
"""

from stages.hashes.registry import ALL, HASHES, hash_of, rounded_name
from stages.hashes.spec import Hash

__all__ = ["ALL", "HASHES", "Hash", "hash_of", "rounded_name"]
