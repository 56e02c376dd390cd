"""`simulate` with a memory against a plain dictionary, request by request."""

from __future__ import annotations

import numpy as np
from helpers import random_scores
from hypothesis import given, settings, strategies as st

from stages.cascade import Cascade, MemoryPolicy, decide, distinct
from stages.simulate import Recall, recalled


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["maxp", "difference", "entropy"]),
    st.booleans(),
    st.sampled_from([None, 0.0, 0.4, 0.8]),
)
def test_each_request_is_what_a_dictionary_would_answer(seed, score, postcheck, trust):
    rng = np.random.default_rng(seed)
    n = 40
    scores = random_scores(rng, n)
    one = Cascade.of(("small", "large"), score, 0.5, postcheck=postcheck)
    plain = decide(scores, one)
    keys = rng.integers(0, 6, (n, 1)).astype(np.uint8)
    unique, codes = distinct(keys)
    recall = Recall(MemoryPolicy("dhash", trust=trust), codes, unique, np.zeros(n, bool))
    outcome, _ = recalled(scores, one, plain, recall)
    held = {}
    for r in range(n):
        name = int(keys[r, 0])
        assert outcome.hit[r] == (name in held)
        if name in held:
            assert outcome.prediction[r] == held[name]
            assert not outcome.escalated[r]
            continue
        assert outcome.prediction[r] == plain.prediction[r]
        assert outcome.escalated[r] == plain.escalated[r]
        by = scores.score(score, scores.index("large" if plain.took_b[r] else "small"))[r]
        sure = trust is None or (by <= trust if score == "entropy" else by >= trust)
        if sure:
            held[name] = plain.prediction[r]
