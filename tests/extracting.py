"""Small extractions of the digits, to be held against each other."""

from __future__ import annotations

import torch
from running import manifest_of

from cache import Store, read_table
from stages import extract
from stages.datasets import open_split
from stages.models import choose

PAIR = ("digits_wide", "digits_plain")
CPU = torch.device("cpu")
SPLIT, N, PART, BATCH = "test", 500, 64, 16
PARTS = -(-N // PART)


def run(root, models=PAIR, progress=lambda done, total: None, aliases=(), **options):
    """Extract the digits' test split into the cache at `root`."""
    options = {"batch_size": BATCH, "part_rows": PART, "workers": 1} | options
    chosen = choose("digits", models, aliases)
    sources = [open_split("digits", SPLIT)]
    return extract.run(Store(root), sources, chosen, extract.Options(CPU, **options), progress)


def rows_of(root, models=PAIR):
    """All that must be the same however it was made: everything but moments and times."""
    store, found = Store(root), {}
    for model in models:
        for table in ("logits", "timings"):
            manifest = manifest_of(root, table, SPLIT, model)
            assert manifest is not None, f"no {table} of {model}"
            rows = read_table(store, manifest)  # refuses a part that its manifest does not describe
            kept = rows if table == "logits" else rows.select(["first_sample_id", "batch_size"])
            found[table, model] = (
                kept.combine_chunks().to_pydict(),
                [(part.name, part.rows) for part in manifest.parts],
                manifest.identity,
            )
    assert store.files(".tmp/receipts") == []
    return found
