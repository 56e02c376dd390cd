"""Joules that can be trusted: one meter interface, one module per sensor, each read with its doubt.
A counter's joules are made in `counter`, a power sensor's in `sampling`; `opening` has the table.

In: devices. Out: a meter each, whose windows give joules and an interval, or None and a reason.

>>> from stages.energy import open_meters
>>> [meter] = open_meters(["cpu"], prefer="none")
>>> with meter.window() as window:
...     pass
>>> window.reading.energy_j, window.reading.reason
(None, 'energy was not to be measured')
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
