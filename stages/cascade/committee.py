"""What several models that all run answer together."""

from __future__ import annotations

import numpy as np


def votes(predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int [M, N] → the answer of most, in a tie the one named by the earliest model, int [N], and
    the vote share float64 [N], the models behind it over all.

    >>> votes(np.array([[1, 4], [2, 5], [2, 6]]))
    (array([2, 4]), array([0.66666667, 0.33333333]))
    """
    behind = np.array([(predictions == one).sum(axis=0) for one in predictions])
    winner = behind.argmax(axis=0)
    columns = np.arange(predictions.shape[1])
    return predictions[winner, columns], behind[winner, columns] / len(predictions)
