"""The chosen cascade for real, held against what `simulate` said: latency, joules, answers.

In: images, cascades with their models loaded, meters. Out: what was served, and where it differs
from the simulation. Running it takes torch; what is made of a run does not.

>>> from stages.live import latency_summary
>>> latency_summary.__doc__ is not None
True
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
