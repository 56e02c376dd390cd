"""How a cascade decides: its score, its λ or how that is fitted, and its post-check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from cascade_cli.options.common import SCORE_NAMES


@dataclass(frozen=True)
class DecisionOptions:
    """A score, λ (None: fitted, for the objective) and whether the surer answer counts."""

    scorefn: Annotated[
        str,
        typer.Option("-s", "--scorefn", help=f"Score: {SCORE_NAMES}, oracle or a package's."),
    ] = "maxp"
    threshold: Annotated[
        str | None,
        typer.Option("-t", "--threshold", help="λ in [0, 1], always or never. [default: fitted]"),
    ] = None
    postcheck: Annotated[
        bool,
        typer.Option("-p", "--postcheck", help="Take B's answer only where B is surer than A."),
    ] = False
    objective: Annotated[
        str, typer.Option("--objective", help="Which fitted λ: best, or 1se (cheapest near it).")
    ] = "best"
