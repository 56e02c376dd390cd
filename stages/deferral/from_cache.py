"""From the cache to what deferral rules know: the models of both splits, and pairs of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cache import Store
from stages.deferral.committees import Ballot
from stages.deferral.model_outputs import Outputs, Pair
from stages.deferral.spec import LABELS, LOGITS_A, LOGITS_B, SCORES_ONLY
from stages.scores import ScoreSet, parts_of
from stages.threshold import FitPlan

T = TypeVar("T")


def _outputs(
    store: Store, scores: ScoreSet, model: int, logits: bool, extra: Sequence[str]
) -> Outputs:
    """Without `logits`, and where there are none, scores are all that is known; `extra` names
    scores of packages to be known as well."""
    added = {name: scores.scores[name][model] for name in extra}
    parts = parts_of(store, scores, model) if logits else None
    if parts is not None:
        found = Outputs.of(parts, scores.labels)
        return replace(found, scalars=found.scalars | added)
    known = {name: values[model] for name, values in scores.scores.items()} | added
    return Outputs(scores.labels, scores.predictions[model], known)


@dataclass(frozen=True)
class Sides:
    """The models' outputs on the fitting and on the reported images."""

    plan: FitPlan
    reported: ScoreSet
    fitting: Sequence[Outputs]
    reporting: Sequence[Outputs]

    @classmethod
    def of(
        cls,
        store: Store,
        reported: ScoreSet,
        plan: FitPlan,
        logits: bool,
        extra: Sequence[str] = (),
    ) -> Sides:
        def known(scores: ScoreSet) -> list[Outputs]:
            each = range(len(scores.models))
            return [_outputs(store, scores, model, logits, extra) for model in each]

        reporting = known(reported)
        fitting = reporting if plan.scores is reported else known(plan.scores)
        return cls(plan, reported, fitting, reporting)

    def pair(self, a: int, b: int) -> tuple[Pair, Pair]:
        """(fitting, reporting): one Pair twice where the split is to be cross-fitted."""
        return self._both(lambda _, models: Pair(models[a], models[b]))

    def ballot(self, members: Sequence[int], last: int) -> tuple[Ballot, Ballot]:
        """(fitting, reporting), likewise."""
        return self._both(lambda scores, _: Ballot.of(scores, members, last))

    def _both(self, known: Callable[[ScoreSet, Sequence[Outputs]], T]) -> tuple[T, T]:
        reporting = known(self.reported, self.reporting)
        if self.plan.method == "cross-fit":
            return reporting, reporting
        return known(self.plan.scores, self.fitting), reporting

    def known(self, a: int, b: int) -> frozenset[str]:
        """What rules and final answers may need of this pair, as `stages.deferral.spec` says."""
        sides = (self.fitting, self.reporting)
        has = {LOGITS_A: a, LOGITS_B: b}
        there = [
            need for need, m in has.items() if all(side[m].parts is not None for side in sides)
        ]
        return frozenset((SCORES_ONLY, LABELS, *there))
