from .bootstrap import (
    Choice as Choice,
    Chooser as Chooser,
    Procedure as Procedure,
    procedure as procedure,
)
from .differences import (
    FEW as FEW,
    LOSS_SUMS as LOSS_SUMS,
    Paired as Paired,
    change as change,
    images_needed as images_needed,
    loss_sums as loss_sums,
    losses_of as losses_of,
    mean_loss as mean_loss,
    paired as paired,
    within_one_se as within_one_se,
)
from .intervals import (
    LEVEL as LEVEL,
    NORMAL as NORMAL,
    Interval as Interval,
    from_ends as from_ends,
    mean_of as mean_of,
    with_ends as with_ends,
    z_of as z_of,
)
from .repeats import (
    repeated_change as repeated_change,
    repeated_losses as repeated_losses,
    repeated_share as repeated_share,
)
from .shares import (
    exact_share as exact_share,
    least as least,
    most as most,
    of_strata as of_strata,
    share as share,
)
