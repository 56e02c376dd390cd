"""Which partitions of a cache are meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer


def _of(what: str) -> Any:
    return typer.Option(f"--{what}", help=f"Only of these {what}s, separated by commas.")


@dataclass(frozen=True)
class PartitionOptions:
    """Names separated by commas, of tables and of each key; None for all."""

    table: Annotated[str | None, _of("table")] = None
    dataset: Annotated[
        str | None, typer.Option("-d", "--dataset", help="Only of these datasets, likewise.")
    ] = None
    split: Annotated[str | None, _of("split")] = None
    variant: Annotated[str | None, _of("variant")] = None
    runtime: Annotated[str | None, _of("runtime")] = None
    model: Annotated[str | None, _of("model")] = None
    score: Annotated[str | None, typer.Option("--score", help="Only of these added scores.")] = None
    algorithm: Annotated[str | None, typer.Option("--algorithm", help="Only of these hashes.")] = (
        None
    )
    stage: Annotated[str | None, typer.Option("--stage", help="Only results of these stages.")] = (
        None
    )
    run: Annotated[
        str | None, typer.Option("--run", help="Only these results, by their digest.")
    ] = None
    stream: Annotated[
        str | None, typer.Option("--stream", help="Only these streams, likewise.")
    ] = None
