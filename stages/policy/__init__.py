"""A cascade written down: policy.toml, the Python that decides by it, and whether it still holds.

In: a cascade, what it promises and on which images. Out: files that run with numpy alone.

>>> from stages.policy import read
>>> read("policy").cascade.models
('digits_wide', 'digits_residual')
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
