"""What a hash costs: latency and the host's joules per image, beside the models' costs.

Hashing runs on the host, whatever device the models run on, so its joules are those of the host's
sensor. The rows stand under the device whose models' costs they are added to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from types import SimpleNamespace
from typing import Any

from cache import CostRow, Store
from stages.costs import HASH, Subject, merge, profile_models, read
from stages.datasets import Source
from stages.energy import Meter
from stages.hashes.spec import Hash
from stages.runtimes import Device, device_name

RUNTIME = "numpy-cpu"
# Enough that the pictures of a window are not always the same ones.
_PICTURES = 256

Progress = Callable[[int, int], None]


def unmeasured(store: Store, dataset: str, hashes: Sequence[Hash], device: Device) -> list[Hash]:
    """The hashes whose costs beside this device's models the cache does not know."""
    known = read(store, dataset, [HASH + each.name for each in hashes])
    here = device_name(device)
    return [each for each in hashes if here not in {row.device for row in known[HASH + each.name]}]


def measure_costs(
    store: Store,
    source: Source,
    hashes: Sequence[Hash],
    device: Device,
    meters: Sequence[Meter],
    progress: Progress = lambda done, total: None,
) -> list[CostRow]:
    """Time each hash, one decoded picture at a time, and merge the rows into the cache's costs.

    `component` is hash, `batch_size` 1; the rows' model is `hash:` and the algorithm.
    """
    pictures = [source.read(i) for i in range(min(len(source), _PICTURES))]
    nothing: Any = SimpleNamespace(device=device)  # all that is asked of what runs no model
    subjects = [
        Subject(
            *(HASH + each.name, RUNTIME, nothing, (), None, None), preprocess=_call(each, pictures)
        )
        for each in hashes
    ]
    found = profile_models(subjects, meters, (), quick=True, progress=progress)
    rows = [
        replace(row, component="hash", peak_memory_bytes=None)
        for measured in found.values()
        for row in measured
    ]
    merge(store, source.dataset, rows)
    return rows


def _call(by: Hash, pictures: Sequence[Any]) -> Callable[[], object]:
    following = cycle(pictures)
    return lambda: by.digest_each([next(following)])
