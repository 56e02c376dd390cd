"""The requests that a cascade answers, and the memory in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import typer

from cascade_cli.options.common import MOST, share
from cascade_cli.options.costs import BASELINE
from cascade_cli.options.groups import option

METER = "Sensor to prefer, a package's too. [default: the best]"


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
    """A memory of answers, and what it is asked: each image once, in order, or how often else,
    turned how and in which order."""

    memory: str | None = option(None, "Answer repeated images from a table, by this hash.", "-m")
    duplicates: float = option(
        0.0, "Copies of each image; 0.5: of half of them.", "-d", parser=_copies, metavar="FLOAT"
    )
    rotations: float = option(
        0.0, "Probability that a copy is turned or mirrored.", "-r", callback=share
    )
    order: str = option("appended", "Copies appended at the end, or shuffled among all.")
    seed: int = option(0, "Of the copies, turns and order.", min=0)
    stream: str | None = option(None, "Your own requests: .csv or .parquet of sample_id, variant.")
    memory_size: int | None = option(
        None, "Most keys held; the least recently used goes.", max=MOST
    )
    memory_radius: int = option(0, "Hamming distance of a hit, for the bit hashes.", max=MOST)
    memory_trust: float | None = option(None, "Store only answers whose score reaches this.")

    @property
    def repeats(self) -> bool:
        """Whether the requests are anything but each image once, in order."""
        return bool(self.duplicates or self.stream or self.order != "appended")

    def described(self) -> dict[str, Any]:
        """What made the stream, as results and the cache name it."""
        made = {key: getattr(self, key) for key in ("duplicates", "rotations", "order", "seed")}
        return made | {"file": self.stream}


@dataclass(frozen=True)
class LiveOptions:
    """Requests at once and at most, whether models run alone too, and which sensor measures."""

    batch_size: int = option(1, "Requests answered at once.", min=1, max=MOST)
    limit: int | None = option(None, "Only the first requests. [default: all]", min=1, max=MOST)
    alone: bool = option(True, "Also run each model and the baseline alone, interleaved.")
    baseline: str | None = option(None, BASELINE)
    meter: str | None = option(None, METER)
    log: str | None = option(None, "Folder of a decision log, a line for each request.")
