"""The memory against a plain loop over a dictionary, for every policy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cache import InputError
from stages.cascade import MemoryPolicy, MemoryTable, distinct, remember, size_bytes


def naive(keys, storable, size, radius, batch):
    """Answers by a list of [key, owner, last use] and Python loops: one batch after another."""
    held, clock, answers = [], 0, []
    for start in range(0, len(keys), batch):
        requests = range(start, min(start + batch, len(keys)))
        found = {}
        for r in requests:
            clock += 1
            near = [(hamming(entry[0], keys[r]), i) for i, entry in enumerate(held)]
            near = [pair for pair in near if pair[0] <= radius]
            if near:
                entry = held[min(near)[1]]  # nearest, then the oldest: `held` is in storing order
                entry[2] = clock
                found[r] = entry[1]
        for r in requests:
            clock += 1
            if r not in found and storable[r] and all(entry[0] != keys[r] for entry in held):
                held.append([keys[r], r, clock])
                if size is not None and len(held) > size:
                    held.remove(min(held, key=lambda entry: entry[2]))
        answers += [found.get(r, -1) for r in requests]
    return answers, len(held)


def hamming(a, b):
    return sum(bin(x ^ y).count("1") for x, y in zip(a, b, strict=True))


@st.composite
def streams(draw):
    """Few distinct keys, so that most requests collide; near keys, so that radii matter."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    requests = draw(st.integers(1, 60))
    pool = rng.integers(0, 4, (draw(st.integers(1, 12)), 2)).astype(np.uint8)
    storable = rng.random(requests) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    return pool[rng.integers(0, len(pool), requests)], storable


@settings(max_examples=300)
@given(
    streams(),
    st.sampled_from([None, 1, 2, 5, 100]),
    st.sampled_from([0, 1, 2, 16]),
    st.sampled_from([1, 2, 7, 100]),
)
def test_every_policy_equals_a_dictionary_loop(stream, size, radius, batch):
    keys, storable = stream
    unique, codes = distinct(keys)
    policy = MemoryPolicy("dhash", size, radius)
    found = remember(codes, unique, storable, policy, batch)
    expected, entries = naive([tuple(map(int, key)) for key in keys], storable, size, radius, batch)
    assert found.source.tolist() == expected
    assert found.entries == entries
    assert found.hit.tolist() == [answer >= 0 for answer in expected]


@given(streams())
def test_distinct_keys_and_places(stream):
    keys, _ = stream
    unique, places = distinct(keys)
    assert (unique[places] == keys).all()
    assert len({key.tobytes() for key in unique}) == len(unique)


def test_the_first_stored_answer_is_the_one_returned():
    keys = np.array([[1], [1], [1]], np.uint8)
    unique, codes = distinct(keys)
    found = remember(codes, unique, np.array([False, True, True]), MemoryPolicy("dhash"))
    assert found.source.tolist() == [-1, -1, 1]


def test_a_copied_table_forgets_nothing_and_shares_nothing():
    table = MemoryTable(MemoryPolicy("dhash", size=2, radius=1))
    one, other = np.array([0], np.uint8), np.array([255], np.uint8)
    table.store(one, 7)
    copy = table.copy()
    copy.store(other, 8)
    assert (copy.look_up(one), copy.look_up(other)) == (7, 8)
    assert table.look_up(other) is None
    assert (len(table), len(copy)) == (1, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"size": 0}, "--memory-size 0"), ({"radius": -1}, "--memory-radius -1")],
)
def test_policies_out_of_range_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        MemoryPolicy("dhash", **options)


def test_size_counts_keys_and_answers():
    assert size_bytes(10, 8) == 10 * (8 + 4)
