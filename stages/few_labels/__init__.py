"""Certificates from few labels: where a cascade answers as the reference does, nothing is lost,
whatever the label is, so that only disagreements need labels.

In: outputs on images without labels, and a plan, fixed beforehand, of what is tested in which
order; then labels, as they are asked for. Out: what is certified so far, and which labels to ask
for next. docs/methods.md has the proofs.

>>> from stages.few_labels.trial import most_lost
>>> most_lost(2000, 0.01, 0.1)  # of 2,000 images so many may be lost where 1 % is promised
13
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
