"""How much `live` answers at once, for how long, and what beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from cascade_cli.options.common import MOST
from cascade_cli.options.costs import Baseline

Meter = Annotated[
    str | None,
    typer.Option("--meter", help="Sensor to prefer, a package's too. [default: the best]"),
]


@dataclass(frozen=True)
class LiveOptions:
    """Requests at once and at most, whether models run alone too, and which sensor measures."""

    batch_size: Annotated[int, typer.Option(min=1, max=MOST, help="Requests answered at once.")] = 1
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=MOST, help="Only the first requests. [default: all]"),
    ] = None
    alone: Annotated[
        bool,
        typer.Option(help="Also run each model and the baseline alone, interleaved."),
    ] = True
    baseline: Baseline = None
    meter: Meter = None
