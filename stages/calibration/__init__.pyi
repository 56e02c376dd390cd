from .metrics import (
    Likelihoods as Likelihoods,
    augrc as augrc,
    aurc as aurc,
    calibrate as calibrate,
    fit_temperature as fit_temperature,
    quality as quality,
    reliability as reliability,
)
from .probabilities import calibrated as calibrated, own_limit as own_limit
from .stage import (
    ModelCalibration as ModelCalibration,
    ReliabilityBin as ReliabilityBin,
    calibrate_models as calibrate_models,
)
