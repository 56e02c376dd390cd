"""Pictures to label, one after another, on a local page.

In: a labeller, which knows what to ask next and keeps the answers. Out: its `answered` calls.

`question` is what the page and a labeller say to each other, `session` whose turn it is, `server`
who may talk, `asking` opens and closes it all; page.html, page.css and page.js are the page.

>>> from stages.labelling import LabelQuestion
>>> LabelQuestion(7, "cat_7.png", None, ("cat", "dog")).choices
('cat', 'dog', 'other')
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
