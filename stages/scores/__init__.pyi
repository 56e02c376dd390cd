from .candidates import (
    Held as Held,
    all_candidates as all_candidates,
    candidate as candidate,
    in_runtime as in_runtime,
    model_in as model_in,
    origin as origin,
    partitions_of as partitions_of,
)
from .credit import right_and_credit as right_and_credit, with_loss as with_loss
from .fitted import (
    BASES as BASES,
    TOP as TOP,
    Coefficients as Coefficients,
    features as features,
    fitted_score as fitted_score,
    isotonic_curve as isotonic_curve,
    logit_scores as logit_scores,
    platt_curve as platt_curve,
    predicted_gain as predicted_gain,
    scaled as scaled,
    unfit as unfit,
)
from .from_logits import prepared as prepared
from .logits import (
    Parts as Parts,
    blocks as blocks,
    scored_block as scored_block,
    subset as subset,
    together as together,
    whole as whole,
)
from .losses import Loss as Loss, parse_loss as parse_loss
from .nobody import (
    ABSTAIN as ABSTAIN,
    HUMAN as HUMAN,
    NOBODYS as NOBODYS,
    UNANSWERED as UNANSWERED,
    Nobody as Nobody,
    check_reserved as check_reserved,
    is_nobody as is_nobody,
)
from .nobody_row import (
    loss_given as loss_given,
    with_nobody as with_nobody,
    without_nobody as without_nobody,
)
from .plugin_scores import (
    TABLE as TABLE,
    Columns as Columns,
    by_name_in as by_name_in,
    named_in as named_in,
    stored as stored,
)
from .registry import (
    UnknownScoreError as UnknownScoreError,
    answered as answered,
    check_packages as check_packages,
    functions as functions,
    named as named,
    own as own,
    undeployable as undeployable,
)
from .softmax import (
    NonFiniteError as NonFiniteError,
    scores_of as scores_of,
    softmax_of as softmax_of,
)
from .spec import (
    CALIBRATIONS as CALIBRATIONS,
    FUNCTIONS as FUNCTIONS,
    LABEL_FREE as LABEL_FREE,
    SCORES as SCORES,
    VOTE_SHARE as VOTE_SHARE,
    Score as Score,
    ScoreFunction as ScoreFunction,
    allows as allows,
    built_in as built_in,
    checked_by as checked_by,
    confidence as confidence,
    made_of as made_of,
)
from .table import (
    Halves as Halves,
    ScoredModel as ScoredModel,
    ScoreSet as ScoreSet,
    labelled_splits_of as labelled_splits_of,
    load as load,
    load_unlabelled as load_unlabelled,
    models_of as models_of,
    named_classes as named_classes,
    parts_of as parts_of,
    run as run,
    scored as scored,
    splits_of as splits_of,
    with_references as with_references,
)
