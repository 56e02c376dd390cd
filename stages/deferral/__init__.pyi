from .committees import (
    Ballot as Ballot,
    agreement as agreement,
    best_agreements as best_agreements,
    committee as committee,
    votes as votes,
)
from .comparison import compare as compare, decide as decide
from .fitted import Best as Best, DeferralResult as DeferralResult
from .outputs import Outputs as Outputs, Pair as Pair
from .rules import (
    FINALS as FINALS,
    RULES as RULES,
    Final as Final,
    Rule as Rule,
    rule_of as rule_of,
)
from .stage import RulesQuestion as RulesQuestion, run as run
