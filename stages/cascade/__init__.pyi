from .committee import votes as votes
from .coverage import RiskCoverage as RiskCoverage, risk_coverage as risk_coverage
from .decision import (
    Answers as Answers,
    Rules as Rules,
    decide as decide,
    nobodys_answers as nobodys_answers,
    run_stages as run_stages,
)
from .memory import (
    MemoryPolicy as MemoryPolicy,
    MemoryTable as MemoryTable,
    Remembered as Remembered,
    distinct as distinct,
    remember as remember,
    size_bytes as size_bytes,
)
from .ordering import Ordering as Ordering, group_ends as group_ends
from .postcheck import allowed as allowed
from .rule import cut as cut, takes_b as takes_b, trusted as trusted
from .sweep import (
    OBJECTIVES as OBJECTIVES,
    Fit as Fit,
    fit as fit,
    gains as gains,
    pair_gains as pair_gains,
    postchecked as postchecked,
    prefix as prefix,
    sum_type as sum_type,
    sums as sums,
)
from .values import (
    ALWAYS as ALWAYS,
    AT as AT,
    ENSEMBLE as ENSEMBLE,
    LAST as LAST,
    NEVER as NEVER,
    ORACLE as ORACLE,
    Cascade as Cascade,
    Limit as Limit,
    Outcome as Outcome,
    Stage as Stage,
)
