from .bounds import BOUNDS as BOUNDS, betting as betting, binomial as binomial
from .candidates import Candidates as Candidates, Sweep as Sweep
from .sequence import (
    SAFEST as SAFEST,
    Certificate as Certificate,
    Limits as Limits,
    check_calibration as check_calibration,
)
from .sweeps import (
    CertifiedLimit as CertifiedLimit,
    candidates_of as candidates_of,
    certify_sweeps as certify_sweeps,
)
