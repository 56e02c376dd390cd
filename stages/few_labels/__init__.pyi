from .calibration import (
    CalibrationImages as CalibrationImages,
    calibrate as calibrate,
    calibration_images as calibration_images,
)
from .folder import Folder as Folder
from .incoming import Classes as Classes, brought as brought
from .interactive import PlanLabeller as PlanLabeller
from .plan import (
    ALL as ALL,
    DISAGREEMENT as DISAGREEMENT,
    PREDICTED_CLASS as PREDICTED_CLASS,
    THESE as THESE,
)
from .proposing import PlanRequest as PlanRequest, propose_plan as propose_plan
from .stage import (
    FewLabelsResult as FewLabelsResult,
    PlanProgress as PlanProgress,
    TriedCascade as TriedCascade,
)
