"""What can be run: a registry of models and one module per architecture family.

In: a name, and a dataset. Out: a spec, its weights, the torch module. Only building takes torch.

>>> from stages.models import get
>>> get("resnet20", dataset="cifar10").macs
40813184
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
