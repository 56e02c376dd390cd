"""scores → a page to look at: one HTML file that works from disk, offline.

In: scores, a plan to fit λ, a question. Out: the page, and its charts as SVG and PNG.

`points` chooses, `searched` answers, `curves`, `details` and `explorer` gather what the page's
script shows, `packing` carries it, `content` words, `page` is HTML, js/ the script. For a paper,
`corners` thins and `charts` draws.

    cascade report -d digits --output report.html --figures figures/
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
