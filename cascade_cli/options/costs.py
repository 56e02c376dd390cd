"""Which cost of a request is told, and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from cascade_cli.options.common import MOST
from cascade_cli.options.groups import option

BASELINE = "Model to compare with. [default: the one that one would deploy alone]"


@dataclass(frozen=True)
class CostOptions:
    """A kind of cost on a device, at a batch size, against a baseline, and of requests that arrive
    one after another and have to be decoded."""

    cost: str | None = option(
        None,
        "joules, latency, macs, or a unit that each request's cost is known in, such as usd. "
        "[default: the first known, each request's before others; --quick latency comes last]",
    )
    cost_device: str | None = option(None, "Whose costs. [default: one that has them all]")
    batch_size: int = option(
        1,
        "Requests answered at once, for the cost.",
        "--batch-size",
        "--cost-batch-size",
        min=1,
        max=MOST,
    )
    baseline: str | None = option(None, BASELINE)
    cost_budget: str | None = option(
        None, "Tell which share of the requests cost more than this: 0.5mJ, 12ms, 150M, 3e6."
    )
    arrival_rate: float | None = option(
        None, "Requests per second; adds the idle power in between."
    )
    with_preprocess: bool = option(False, "Count decoding and resizing too.")
