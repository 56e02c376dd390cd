"""Groups of options, as dataclasses that travel whole, and the options that several of them share.

In: typer, and the scores' names. Out: what commands take as parameters, and `grouped`, which shows
it to typer.

    >>> from cascade_cli.options import PairOptions
    >>> PairOptions("small", "large").model_2
    'large'
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
