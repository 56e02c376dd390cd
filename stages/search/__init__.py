"""Which cascade should be deployed? Every pair, rule and λ, exactly, and an answer to a question.

In: scores, the images that fit λ, prices, a question. Out: the frontier, its hull, the answer with
two verdicts: *target* and *worth*. From `pairs` and `chains` by `fitted_frontier` to `ranking` (the
answer by its estimate) or `holdout` (a tested answer, in a `testing_order`), and `verdict`.

>>> from stages.search import QUESTIONS
>>> "match" in QUESTIONS
True
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
