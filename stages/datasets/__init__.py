"""What models can be run on: labelled pictures from any layout, in one fixed order.

In: a dataset's name, a split, the folder of its images. Out: a Source, picture by picture.

>>> from stages.datasets import open_split
>>> source = open_split("digits", "test")
>>> len(source), source.read(0).shape, source.class_names[source.labels[0]]
(500, (8, 8), '0')
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
