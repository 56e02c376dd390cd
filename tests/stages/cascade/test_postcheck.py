"""Post-check where the scores of two models do not compare."""

from __future__ import annotations

import pytest

from cache import InputError
from stages.cascade import allowed
from stages.scores import Score

LOGIT = Score("logit", +1, comparable=False)


@pytest.mark.parametrize("asked", [(), (False,), (True,), (False, True)])
def test_scores_that_compare_have_it(asked):
    assert allowed(Score("maxp", +1), asked) == asked


def test_it_is_left_out_with_a_line_and_refused_alone(capsys):
    assert allowed(LOGIT, (False,)) == (False,)
    assert capsys.readouterr().err == ""
    assert [allowed(LOGIT, (False, True)) for _ in range(2)] == [(False,)] * 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "logit does not compare between models, so post-check is left out; --cal"
    )
    with pytest.raises(
        InputError, match="which of two models is surer, and logit does not compare"
    ):
        allowed(LOGIT, (True,))
