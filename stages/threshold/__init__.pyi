from .class_changes import ClassChange as ClassChange, by_class as by_class
from .crossfit import FoldCounts as FoldCounts, best_of as best_of
from .fit_images import (
    FOLDS as FOLDS,
    PART_SEED as PART_SEED,
    REPEATS as REPEATS,
    FitPlan as FitPlan,
    cross_fits as cross_fits,
    folds as folds,
    halves as halves,
    held_out as held_out,
    made_from as made_from,
    parts as parts,
    plan as plan,
    reported_half as reported_half,
    seen as seen,
    trained_splits as trained_splits,
    unlike as unlike,
)
from .last_limit import (
    LastStage as LastStage,
    fitted_before_last as fitted_before_last,
    last_limit as last_limit,
)
from .stage import (
    OperatingPoint as OperatingPoint,
    ThresholdQuestion as ThresholdQuestion,
    all_pairs as all_pairs,
    cross_fitted_points as cross_fitted_points,
    curve as curve,
    fitted_point as fitted_point,
    operating_points as operating_points,
    run as run,
)
