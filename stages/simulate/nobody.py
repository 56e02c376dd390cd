"""What a cascade does whose last stage is no model: which share comes there, and what it is worth.

A person is right with a stated probability, so figures with a person are expectations: their
intervals are those of the images being a sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from stages.cascade import (
    NEVER,
    Cascade,
    Limit,
    Outcome,
    RiskCoverage,
    decide,
    risk_coverage,
)
from stages.results import Row
from stages.scores import Loss, ScoreSet, loss_given, named
from stages.simulate.shares import share_of, worth
from stages.statistics import Interval, loss_sums, losses_of, mean_loss


@dataclass(frozen=True, kw_only=True)
class NobodyFigures(Row):
    """Of all requests the share `abstained` that no model answers, `unanswered` of them; null where
    the last stage is a model. `answered_accuracy` is of the others; `expected_accuracy` of all,
    where a person answers the rest. `loss` is what a request costs, an error 1 where no loss of
    the name `loss_name` says otherwise. `aurc` is the area under the risk–coverage curve of the
    last model's λ, and `excess_aurc` what of it a better order would spare."""

    abstain_cost: float | None = None
    human_accuracy: float | None = None
    human_cost: float | None = None
    unanswered: int | None = None
    abstained: Interval | None = None
    answered_accuracy: Interval | None = None
    expected_accuracy: float | None = None
    loss: Interval | None = None
    loss_name: str | None = None
    aurc: Interval | None = None
    excess_aurc: float | None = None


def nobody_figures(scores: ScoreSet, cascade: Cascade, outcome: Outcome) -> NobodyFigures:
    """Of what was decided of the images of `scores`, whose last row is the cascade's last stage."""
    last, ids = scores.nobody, scores.sample_ids
    if cascade.nobody is None:
        return NobodyFigures()
    if last is None or last.name != cascade.nobody or scores.loss is None:
        raise ValueError(f"these scores do not say what {cascade.nobody} costs")
    sent, n = outcome.unanswered, len(outcome.prediction)
    count, right = int(sent.sum()), int(outcome.correct.sum())
    expected = None
    if last.accuracy is not None:
        expected = float((right + count * Fraction(str(last.accuracy))) / n)
    given, area = loss_given(scores), coverage_of(scores, cascade)
    person = last.accuracy is not None
    return NobodyFigures(
        abstain_cost=None if person else last.loss,
        human_accuracy=last.accuracy,
        human_cost=last.price if person else None,
        unanswered=count,
        abstained=share_of(sent, ids),
        answered_accuracy=share_of(outcome.correct[~sent], ids[~sent]) if count < n else None,
        expected_accuracy=expected,
        loss=_mean(-_credit(scores, outcome), ids, scores.loss),
        loss_name=None if given is None else given.name,
        aurc=area.interval,
        excess_aurc=area.excess,
    )


def coverage_of(scores: ScoreSet, cascade: Cascade) -> RiskCoverage:
    """The risk–coverage curve of the last model before a stage that is nobody's: of each λ what
    the answers that stand lose."""
    return risk_coverage(*_surer_and_loss(scores, cascade))


def _credit(scores: ScoreSet, outcome: Outcome) -> np.ndarray:
    """int [N]: what was earned; of a live run the answers tell."""
    if outcome.earned is not None or scores.loss is None:
        return outcome.credit
    if loss_given(scores) is None:
        own = (outcome.correct.astype(np.int64) - 1) * scores.loss.scale
    else:
        own = scores.loss.credits(scores.labels, np.maximum(outcome.prediction, 0))
    return np.where(outcome.unanswered, scores.credit[-1].astype(np.int64), own)


def _mean(each: np.ndarray, sample_ids: np.ndarray, loss: Loss) -> Interval:
    """Of int [N] in units of 1/scale; requests about one image tell no more than it does."""
    scale = loss.scale
    value = float(Fraction(int(each.sum(dtype=np.int64)), scale * len(each)))
    n = worth(sample_ids)
    sums = loss_sums(-each, -each) * (n / len(each))
    told = mean_loss(losses_of(sums.tolist(), n, loss.most)[0]).over(scale)
    return replace(told, value=value)


def _surer_and_loss(scores: ScoreSet, cascade: Cascade) -> tuple[np.ndarray, np.ndarray]:
    """How sure the last model is, float64 [N] where larger is surer, ∞ of images that do not reach
    it, and what the answer costs that stands where it hands nothing on."""
    *before, model, last = cascade.stages
    keeping = (*before, replace(model, limit=Limit(NEVER)), last)
    kept = decide(scores, replace(cascade, stages=keeping))
    j, scale = len(before), 1 if scores.loss is None else scores.loss.scale
    surer = named(str(model.score)).sign * np.asarray(kept.scores[j])
    return np.where(kept.stage == j, surer, np.inf), -kept.credit / scale
