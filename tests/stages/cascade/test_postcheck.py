"""Post-check where the scores of two models do not compare."""

from __future__ import annotations

import pytest

from cache import InputError
from stages.cascade import Cascade, allowed
from stages.notices import tell_once
from stages.scores import Score
from stages.search import rules
from stages.search.pairs import SearchRule

LOGIT = Score("logit", +1, comparable=False)
MODELS = ("small", "large")


@pytest.mark.parametrize("asked", [(), (False,), (True,), (False, True)])
def test_scores_that_compare_have_it(asked):
    assert allowed(Score("maxp", +1), asked) == asked


def test_it_is_left_out_with_one_line(capsys):
    tell_once.cache_clear()
    assert allowed(LOGIT, (False,)) == (False,)
    assert capsys.readouterr().err == ""
    assert [allowed(LOGIT, (False, True)) for _ in range(2)] == [(False,)] * 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("post-check is left out where the scores of two models do not compare;")
    tried = rules(["logit", "maxp"])
    assert tried == [SearchRule("logit"), SearchRule("maxp"), SearchRule("maxp", True)]


def test_it_is_refused_where_it_is_asked_for():
    message = "which of two models is surer, and logit does not compare between models"
    with pytest.raises(InputError, match=message):
        allowed(LOGIT, (True,))
    with pytest.raises(InputError, match=message):
        Cascade.of(MODELS, "logit", 0.5, postcheck=True)
    assert Cascade.of(MODELS, "platt(logit)", 0.5, postcheck=True).postcheck
