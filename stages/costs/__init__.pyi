from .cached_prices import pricer as pricer
from .expected_costs import (
    RUNS as RUNS,
    ExpectedCosts as ExpectedCosts,
    UseOfB as UseOfB,
    UseOfLast as UseOfLast,
    costs_of as costs_of,
    counted_runs as counted_runs,
)
from .implied_power import doubts as doubts, told as told
from .import_csv import (
    ELSEWHERE as ELSEWHERE,
    ImportedCosts as ImportedCosts,
    import_costs as import_costs,
    read_costs as read_costs,
    read_rows as read_rows,
)
from .pareto_front import pareto as pareto, records as records, upper_hull as upper_hull
from .pricing import (
    UNPRICED as UNPRICED,
    CostBasis as CostBasis,
    HeldAgainst as HeldAgainst,
    PairPrice as PairPrice,
    Price as Price,
    Pricer as Pricer,
    StagePrice as StagePrice,
    asked as asked,
    batches as batches,
    by_size as by_size,
    expected as expected,
    held_against as held_against,
)
from .profiling import Subject as Subject, profile_models as profile_models, window_s as window_s
from .stale import (
    current as current,
    drop as drop,
    measured_with as measured_with,
    tell_unstated as tell_unstated,
)
from .table import (
    HASH as HASH,
    OF_EACH_REQUEST as OF_EACH_REQUEST,
    UNITS as UNITS,
    Prices as Prices,
    choose as choose,
    devices_of as devices_of,
    hash_cost as hash_cost,
    known as known,
    merge as merge,
    merge_from as merge_from,
    of_each_request as of_each_request,
    read as read,
    some_macs as some_macs,
)
from .tail import over_budget as over_budget
from .wording import (
    amount as amount,
    budget as budget,
    figure as figure,
    figures as figures,
    interval as interval,
    relative as relative,
    told_in as told_in,
)
