"""A cache of three models that differ in skill, with many equal scores."""

from __future__ import annotations

import numpy as np
from helpers import tied_logits, write_logits, write_samples

from cache import Store

MODELS = ("small", "middle", "large")
SKILL = {"small": 1.0, "middle": 1.5, "large": 2.5}
MACS = {"small": 10, "middle": 40, "large": 100}
N = 80


def make(root, splits=("test", "val"), models=MODELS, seed=3, n=N):
    """(the cache's folder, {(split, model): logits}, {split: labels})."""
    rng, store, logits, labels = np.random.default_rng(seed), Store(root), {}, {}
    for split in splits:
        labels[split] = rng.integers(0, 4, n).astype(np.int32)
        write_samples(store, split, labels[split])
        for model in models:
            z = tied_logits(rng, n, spread=1.0)
            z[np.arange(n), labels[split]] += SKILL[model]
            logits[split, model] = z
            about = {"macs": MACS[model], "trained_on": {"splits": [], "source": "stated"}}
            write_logits(store, split, model, labels[split], z, part_rows=33, provenance=about)
    return root, logits, labels
