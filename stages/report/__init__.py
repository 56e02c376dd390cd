"""scores → a page to look at: one HTML file that works from disk, offline.

    cascade report -d digits --output report.html --figures figures/

`points` chooses, `corners` thins, `charts` draws, `content` words, `page` is HTML.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cache import InputError, Store
from stages.costs import some_macs
from stages.fitting import FitPlan
from stages.pricing import Pricer
from stages.report import charts, content, page
from stages.report.costs import Costs
from stages.report.points import Progress, Subject, Wanted, gather, macs_of
from stages.score import ScoreSet


def run(
    store: Store,
    reported: ScoreSet,
    plan: FitPlan,
    pair: Wanted,
    score: str | None,
    out: str | Path,
    figures: str | Path | None = None,
    progress: Progress = lambda done, total: None,
    pricer: Pricer | None = None,
) -> dict[str, Any]:
    """Write the page, and with `figures` PNG and SVG of each chart into that folder.

    `pair` and `score` say which threshold curve to draw; None is the best of all. `pricer` says
    what costs are, by default multiply-adds. Returns the key figures, with `output`, `figures`
    (files), `steps` and `corners_drawn` of the curve. InputError where there are fewer than two
    models, a name is unknown, or a file cannot be written.
    """
    points = gather(reported, plan, pair, score, progress)
    costs = Costs(pricer or Pricer(reported, some_macs(macs_of(reported))))
    subject = Subject(store, reported, plan, points, pair, score, costs)
    facts = content.summary(subject)
    drawn = content.draw(subject)
    built = content.build(subject, facts, drawn)
    _write(Path(out), page.render(built, charts.script()))
    shown = [figure for section in built.sections for figure in section.figures]
    files = [] if figures is None else save_figures(shown, Path(figures))
    facts |= {"output": str(out), "figures": [str(file) for file in files]}
    return facts | {"steps": drawn.steps, "corners_drawn": drawn.corners, "curve_off": drawn.off}


def _write(path: Path, text: str) -> None:
    """The whole file or nothing."""
    try:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error


def save_figures(shown: Sequence[charts.Figure], folder: Path) -> list[Path]:
    """NAME.png and NAME.svg of each; InputError where the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [file for figure in shown for file in charts.save(figure, folder)]
    except (OSError, ValueError) as error:
        raise _refused(folder, error) from error


def _refused(path: Path, error: OSError | ValueError) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(f"cannot write {path}: {reason}; choose another place")
