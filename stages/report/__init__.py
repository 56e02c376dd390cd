"""scores → a page to look at: one HTML file that works from disk, offline.

    cascade report -d digits --output report.html --figures figures/

`points` chooses, `searched` answers, `curves`, `details` and `explorer` gather what the page's
script shows, `packing` carries it, `content` words, `page` is HTML, js/ the script. For a paper,
`corners` thins and `charts` draws.
"""

from stages.report.stage import run, save_figures

__all__ = ["run", "save_figures"]
