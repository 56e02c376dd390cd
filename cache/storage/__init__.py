"""Bytes in, bytes out, atomically: a folder or whatever URI pyarrow's file systems open.

In: a root, a path, bytes. Out: those bytes, whole; InputError, one line, where that cannot be.

>>> from tempfile import mkdtemp
>>> from cache.storage import Store
>>> store = Store(mkdtemp())
>>> store.write("results/note.txt", b"whole or not at all")
>>> store.read("results/note.txt").to_pybytes()
b'whole or not at all'
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
