from .bounds import binomial as binomial
from .candidates import Sweep as Sweep
from .sequence import (
    SAFEST as SAFEST,
    Certificate as Certificate,
    Limits as Limits,
    check_calibration as check_calibration,
)
from .sweeps import CertifiedPoint as CertifiedPoint, certify_sweeps as certify_sweeps
