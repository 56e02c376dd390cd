"""The two models of a cascade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from cascade_cli.options.common import Model1, Model2, Weights1, Weights2


@dataclass(frozen=True)
class PairOptions:
    """The models A and B."""

    model_1: Model1 = None
    model_2: Model2 = None


@dataclass(frozen=True)
class WeightedPairOptions(PairOptions):
    """The same, each with a file of weights."""

    weights_1: Weights1 = None
    weights_2: Weights2 = None


@dataclass(frozen=True)
class AllPairsOptions:
    """Every ordered pair of models, of all or of those named, separated by commas."""

    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Every ordered pair. [default without -m1, -m2]")
    ] = False
    models: Annotated[
        str | None, typer.Option("--models", help="Pairs of these only, separated by commas.")
    ] = None
