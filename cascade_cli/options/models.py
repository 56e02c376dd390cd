"""The two models of a cascade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass(frozen=True)
class PairOptions:
    """The models A and B."""

    model_1: Annotated[str | None, typer.Option("-m1", "--model1", help="First model, A.")] = None
    model_2: Annotated[str | None, typer.Option("-m2", "--model2", help="Second model, B.")] = None


@dataclass(frozen=True)
class WeightedPairOptions(PairOptions):
    """The same, each with a file of weights."""

    weights_1: Annotated[
        str | None, typer.Option("-w1", "--weights1", help="Weights file of A.")
    ] = None
    weights_2: Annotated[
        str | None, typer.Option("-w2", "--weights2", help="Weights file of B.")
    ] = None


@dataclass(frozen=True)
class AllPairsOptions:
    """Every ordered pair of models, of all or of those named, separated by commas."""

    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Every ordered pair. [default without -m1, -m2]")
    ] = False
    models: Annotated[
        str | None, typer.Option("--models", help="Pairs of these only, separated by commas.")
    ] = None
