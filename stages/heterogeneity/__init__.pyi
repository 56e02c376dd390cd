from .pairwise import (
    METRICS as METRICS,
    matrix as matrix,
    measures as measures,
    or_none as or_none,
    run as run,
)
from .prediction import predict_gains as predict_gains
