"""The requests that a cascade answers, and the memory in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from cascade_cli.options.common import MOST, share


def _copies(text: str | float) -> float:
    """-d is the dataset on other commands."""
    try:
        return float(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a valid float: the dataset is --dataset here"
        ) from error


@dataclass(frozen=True)
class MemoryOptions:
    """A memory of answers: the hash that recognises an image, its size and its limits.

    What it is asked is each image once, in order, unless the other fields say otherwise.
    """

    memory: Annotated[
        str | None,
        typer.Option("-m", "--memory", help="Answer repeated images from a table, by this hash."),
    ] = None
    memory_size: Annotated[
        int | None,
        typer.Option(
            "--memory-size", max=MOST, help="Most keys held; the least recently used goes."
        ),
    ] = None
    memory_radius: Annotated[
        int,
        typer.Option(
            "--memory-radius", max=MOST, help="Hamming distance of a hit, for the bit hashes."
        ),
    ] = 0
    memory_trust: Annotated[
        float | None,
        typer.Option(
            "--memory-trust", callback=share, help="Store only answers whose score reaches this."
        ),
    ] = None
    duplicates: float = 0.0
    rotations: float = 0.0
    order: str = "appended"
    seed: int = 0
    stream: str | None = None

    @property
    def repeats(self) -> bool:
        """Whether the requests are anything but each image once, in order."""
        return bool(self.duplicates or self.stream or self.order != "appended")

    def described(self) -> dict[str, Any]:
        """What made the stream, as results and the cache name it."""
        made = {key: getattr(self, key) for key in ("duplicates", "rotations", "order", "seed")}
        return made | {"file": self.stream}


@dataclass(frozen=True)
class StreamOptions(MemoryOptions):
    """The same, and which images are asked about, how often, turned how and in which order."""

    duplicates: Annotated[
        float,
        typer.Option(
            "-d",
            "--duplicates",
            parser=_copies,
            metavar="FLOAT",
            help="Copies of each image; 0.5: of half of them.",
        ),
    ] = 0.0
    rotations: Annotated[
        float,
        typer.Option(
            "-r",
            "--rotations",
            callback=share,
            help="Probability that a copy is turned or mirrored.",
        ),
    ] = 0.0
    order: Annotated[
        str, typer.Option("--order", help="Copies appended at the end, or shuffled among all.")
    ] = "appended"
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the copies, turns and order.")] = 0
    stream: Annotated[
        str | None,
        typer.Option("--stream", help="Your own requests: .csv or .parquet of sample_id, variant."),
    ] = None
