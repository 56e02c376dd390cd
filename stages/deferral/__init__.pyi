from .committees import (
    COMMITTEES as COMMITTEES,
    Ballot as Ballot,
    agreement as agreement,
    best_agreements as best_agreements,
    committee as committee,
)
from .comparison import compare as compare, decide as decide
from .deployed import deployed as deployed
from .fitted_cascade import Best as Best, DeferralResult as DeferralResult
from .model_outputs import Outputs as Outputs, Pair as Pair
from .rules import RULES as RULES, rule_of as rule_of
from .spec import (
    FINALS as FINALS,
    LABELS as LABELS,
    LOGITS_A as LOGITS_A,
    LOGITS_B as LOGITS_B,
    SCORES_ONLY as SCORES_ONLY,
    Final as Final,
    Rule as Rule,
    RuleScores as RuleScores,
    RuleView as RuleView,
)
from .stage import RuleRow as RuleRow, RulesQuestion as RulesQuestion, run as run
