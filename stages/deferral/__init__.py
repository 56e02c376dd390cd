"""When B runs and which answer stands: every rule a row of one table, compared fairly.

In: models' outputs on the images that fit and on those that report. Out: each rule's best cascade.
A new rule is a file and a line of MODULES in `rules`.

>>> from stages.deferral import FINALS, RULES
>>> "margin" in RULES, "ensemble" in FINALS
(True, True)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
