from .bounds import binomial as binomial
from .candidates import Sweep as Sweep
from .sequence import (
    SAFEST as SAFEST,
    Certificate as Certificate,
    Limits as Limits,
    check_calibration as check_calibration,
)
from .sweeps import CertifiedLimit as CertifiedLimit, certify_sweeps as certify_sweeps
