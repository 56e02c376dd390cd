"""When B runs and which answer stands: every rule a row of one table, compared fairly.

from stages.deferral import Outputs, Pair, compare
from stages.logits import whole

fitting = Pair(Outputs.of(whole(val_a), val_labels), Outputs.of(whole(val_b), val_labels))
reporting = Pair(Outputs.of(whole(test_a), labels), Outputs.of(whole(test_b), labels))
rows = list(compare(fitting, reporting))
"""

from stages.deferral.committee import Ballot, agreement, best_agreements, committee, votes
from stages.deferral.compare import compare, decide
from stages.deferral.decided import Best, Decided
from stages.deferral.outputs import Outputs, Pair
from stages.deferral.rules import FINALS, RULES, Final, Rule, rule_of

__all__ = [
    "FINALS",
    "RULES",
    "Ballot",
    "Best",
    "Decided",
    "Final",
    "Outputs",
    "Pair",
    "Rule",
    "agreement",
    "best_agreements",
    "committee",
    "compare",
    "decide",
    "rule_of",
    "votes",
]
