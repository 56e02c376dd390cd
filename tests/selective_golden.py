"""AURC, AUGRC and ECE from two libraries, on probabilities that anyone can draw again.

`GOLDEN` came from torch-uncertainty 0.13.0 (aurc, augrc) and torchmetrics 1.9.0 (ece, 15 bins) by

    python tests/selective_golden.py

Its areas are trapezia over the coverages 1/N … 1, divided by 1 − 1/N; `whole_area` undoes that.
"""

from __future__ import annotations

import numpy as np

N, K = 400, 6
GOLDEN = {
    0: {"aurc": 0.2046612, "augrc": 0.1341009, "ece": 0.1379019},
    1: {"aurc": 0.1943848, "augrc": 0.1230733, "ece": 0.0997479},
    2: {"aurc": 0.1910075, "augrc": 0.1283897, "ece": 0.1228339},
}


def draw(seed):
    """(probabilities float64 [N, K] without ties, labels int [N])."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((N, K))
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(K, p=row) for row in p])
    sharper = p**1.7
    return sharper / sharper.sum(axis=1, keepdims=True), labels


def whole_area(stated, first, last):
    """The library's area with what it leaves out, half a step at the heights of both ends.

    AURC as a sum of N steps: the risks at 1/N and at 1. AUGRC from coverage 0: 0 and the height at
    1/N.
    """
    return stated * (1 - 1 / N) + (first + last) / 2 / N


def _made(seed):
    import torch
    from torch_uncertainty.metrics.classification import AUGRC, AURC
    from torchmetrics.classification import MulticlassCalibrationError

    p, labels = (torch.from_numpy(array) for array in draw(seed))
    metrics = {
        "aurc": AURC(),
        "augrc": AUGRC(),
        "ece": MulticlassCalibrationError(K, n_bins=15, norm="l1"),
    }
    for metric in metrics.values():
        metric.update(p, labels)
    return {name: round(float(metric.compute()), 7) for name, metric in metrics.items()}


if __name__ == "__main__":
    print({seed: _made(seed) for seed in range(3)})
