"""Which cascade is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from cascade_cli.options.common import share


@dataclass(frozen=True)
class QuestionOptions:
    """One question at a time, with its margin and how sure the answer is to be."""

    min_accuracy: Annotated[
        float | None,
        typer.Option("--min-accuracy", callback=share, help="The cheapest this accurate, 0 to 1."),
    ] = None
    max_cost: Annotated[
        str | None,
        typer.Option("--max-cost", help="The most accurate within a cost: 0.5mJ, 12ms, 150M, 3e6."),
    ] = None
    match: Annotated[
        str | None,
        typer.Option(
            "--match",
            help="The cheapest no worse than this model. [default: than the best single model]",
        ),
    ] = None
    best_accuracy: Annotated[bool, typer.Option("--best-accuracy", help="The most accurate.")] = (
        False
    )
    within: Annotated[
        float | None,
        typer.Option(
            "--within",
            callback=share,
            help="How much less accurate still matches, 0.01: one point. [default: 0.01]",
        ),
    ] = None
    confidence: Annotated[
        float | None,
        typer.Option(
            "--confidence",
            callback=share,
            help="Test the answer, to be this sure that it does what is asked: 0.95, as --match"
            " is.",
        ),
    ] = None


@dataclass(frozen=True)
class CertifyOptions:
    """A promise that holds with a stated probability."""

    certify: Annotated[
        str | None,
        typer.Option(
            "--certify",
            help="MAX_LOSS,RISK: 0.03,0.1 loses at most 3 points; wrong at most 1 time in 10.",
        ),
    ] = None
    bound: Annotated[
        str | None, typer.Option("--bound", help="Of --certify: binomial (default) or betting.")
    ] = None
    reference: Annotated[
        str | None,
        typer.Option("--reference", help="Of --certify: lost against this model. [default: best]"),
    ] = None
    max_usage: Annotated[
        float | None,
        typer.Option(
            "--max-usage", callback=share, help="Of --certify: also cap the use of B, 0 to 1."
        ),
    ] = None
