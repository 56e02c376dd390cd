"""scores → a page to look at: one HTML file that works from disk, offline.

In: scores, a plan to fit λ, a question. Out: the page, and its charts as SVG and PNG.

`points` chooses, `searched` answers, `curves`, `details` and `explorer` gather what the page's
script shows, `packing` carries it, `content` words, `page` is HTML, js/ the script. For a paper,
`corners` thins and `charts` draws.

>>> from cache import Store
>>> from stages import report, scores, threshold
>>> store = Store("artifacts")
>>> test = scores.load(store, "ties", "test")
>>> shown = report.run(store, test, threshold.plan(store, test), "page.html")
>>> shown.output
'page.html'
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
