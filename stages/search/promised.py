"""What a certificate promises, or why there is none, in words."""

from __future__ import annotations

from stages.certify import SAFEST
from stages.scores import ScoreSet
from stages.search.evaluation import SearchRow
from stages.search.guarantee import CertificateFacts, Certified


def kept(certified: Certified, answer: SearchRow) -> str:
    """What is promised; of the reference itself, why nothing cheaper is."""
    facts = certified.facts
    if answer.models == (facts.reference,):
        if facts.why is None or certified.safest is None:
            return "It loses nothing against itself, and nothing cheaper was left to test."
        return f"Nothing cheaper is certified: the safest, {_safest(certified)}."
    return (
        f"With probability {1 - facts.delta:g} over the calibration images it loses at most "
        f"{_at_most(answer.loss is not None, facts)} {facts.reference} alone. That holds of one "
        "certificate, not of the first that passes of several tries."
    )


def _at_most(lossy: bool, facts: CertificateFacts) -> str:
    """Of accuracy, or of loss."""
    return f"{facts.epsilon:g} more than" if lossy else f"{facts.epsilon:.2%} accuracy against"


def _safest(certified: Certified) -> str:
    """The first that was tested, and why it did not pass."""
    return f"{certified.safest},{str(certified.facts.why).removeprefix(SAFEST)}"


def refused(certified: Certified, scores: ScoreSet) -> str:
    """What could not be promised, on which images that was tested, and what would help."""
    facts = certified.facts
    n, proposing, testing = len(scores.labels), facts.proposing, facts.testing
    cut = f"Of the {n} images of {scores.split}, {proposing} proposed cascades and {testing}"
    split = f" {cut} tested them." if proposing + testing == n else ""
    why = f"The safest, {_safest(certified)}" if certified.safest else str(facts.why).capitalize()
    most = _at_most(scores.loss is not None, facts)
    return (
        f"Infeasible: nothing is certified to lose at most {most} {facts.reference} alone with "
        f"probability {1 - facts.delta:g}.{split} {why}."
    )
