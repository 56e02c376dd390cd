"""Within a budget a cascade of priced services is not worse than the best of them."""

from __future__ import annotations

import numpy as np
import pytest
from running import SHARED

from benchmarks.services import BUDGETS, halvings, limit, services

TABLE = SHARED / "outputs" / "ferplus.parquet"


@pytest.mark.skipif(not TABLE.is_file(), reason=f"no {TABLE.name} in {TABLE.parent}")
def test_cascades_of_services_are_surely_worse_no_more_often_than_by_chance():
    """At two budgets, on halves without a part in the choice: at one of these least is won."""
    found = halvings(services(TABLE), 200, BUDGETS[1:5:3])
    assert len(found) == 4
    for (budget, how), some in found.items():
        worse, over = (
            np.mean([getattr(each, word) for each in some]) for word in ("worse", "over")
        )
        assert worse <= limit(200), (budget, how)
        assert how == "estimated" or over <= limit(200), budget
