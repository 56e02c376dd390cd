from .metrics import (
    Likelihoods as Likelihoods,
    calibrate as calibrate,
    fit_temperature as fit_temperature,
)
from .stage import calibrate_models as calibrate_models
