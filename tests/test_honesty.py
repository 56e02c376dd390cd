"""benchmarks/honesty.py in small: the claims that it holds, on a hundred draws."""

from __future__ import annotations

import pytest

from benchmarks import honesty
from benchmarks.honesty import Line, sections

# The tolerances widen with fewer draws: three standard errors of their number.
DRAWS = 100
SECTIONS = [*sections(("covers", "few", "assured")), *sections(("matches",))]


@pytest.mark.parametrize(
    "section", SECTIONS, ids=[f"{i}: {title}" for i, (title, _) in enumerate(SECTIONS)]
)
def test_answers_mean_what_they_say(section):
    _, lines = section
    found = list(lines(DRAWS))
    assert found
    broken = [str(line) for line in found if not line.holds]
    assert not broken


@pytest.mark.parametrize(
    ("share", "least", "most", "holds"),
    [
        (0.95, 0.93, 0.99, True),
        (0.80, 0.93, 0.99, False),
        (1.0, 0.93, 0.99, True),  # within three standard errors of a hundred draws
        (0.10, None, 0.05, True),
        (0.12, None, 0.05, False),
        (0.01, None, 0.0, False),
    ],
)
def test_a_claim_that_does_not_hold_is_seen(share, least, most, holds):
    assert Line("", share, DRAWS, least, most).holds == holds
    assert ("BROKEN" in str(Line("", share, DRAWS, least, most))) == (not holds)


def test_a_search_that_flatters_is_seen(monkeypatch):
    """In-sample figures in place of cross-fitted ones do not cover."""
    from stages.search import Search

    monkeypatch.setattr(Search, "crossfitted", None)
    six = honesty.latent("", [0.8] * 6, [1.0] * 6, 50_000)
    lines = honesty.coverage(six, 300, honesty.Question(honesty.BEST), DRAWS, 1)
    accuracy = next(line for line in lines if line.what.endswith("interval of accuracy"))
    assert not accuracy.holds
