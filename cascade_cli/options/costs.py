"""Which cost of a request is told, and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from cascade_cli.options.common import MOST

Cost = Annotated[
    str | None,
    typer.Option(
        "--cost",
        help="joules, latency or macs. [default: the first known; --quick latency comes last]",
    ),
]
CostDevice = Annotated[
    str | None,
    typer.Option("--cost-device", help="Whose costs. [default: one that has them all]"),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        help="Model to compare with. [default: the one that one would deploy alone]",
    ),
]


@dataclass(frozen=True)
class CostOptions:
    """A kind of cost on a device, at a batch size, against a baseline."""

    cost: Cost = None
    cost_device: CostDevice = None
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size",
            "--cost-batch-size",
            min=1,
            max=MOST,
            help="Requests answered at once, for the cost.",
        ),
    ] = 1
    baseline: Baseline = None
    arrival_rate: float | None = None
    with_preprocess: bool = False


@dataclass(frozen=True)
class RequestCostOptions(CostOptions):
    """The same, of requests that arrive one after another and have to be decoded."""

    arrival_rate: Annotated[
        float | None,
        typer.Option("--arrival-rate", help="Requests per second; adds the idle power in between."),
    ] = None
    with_preprocess: Annotated[
        bool, typer.Option("--with-preprocess", help="Count decoding and resizing too.")
    ] = False
