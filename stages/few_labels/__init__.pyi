from .calibration import (
    Calibration as Calibration,
    calibrate as calibrate,
    calibration_images as calibration_images,
)
from .folder import OTHER as OTHER, TO_LABEL as TO_LABEL, Folder as Folder
from .incoming import Classes as Classes, brought as brought
from .interactive import PlanLabeller as PlanLabeller
from .plan import (
    ALL as ALL,
    DISAGREEMENT as DISAGREEMENT,
    LOSS as LOSS,
    PREDICTED_CLASS as PREDICTED_CLASS,
    THESE as THESE,
    Candidate as Candidate,
    Plan as Plan,
    PlannedModel as PlannedModel,
    parse as parse,
)
from .proposing import (
    PlanRequest as PlanRequest,
    candidates as candidates,
    propose_plan as propose_plan,
)
from .stage import (
    FewLabelsResult as FewLabelsResult,
    Progress as Progress,
    TriedCascade as TriedCascade,
)
from .strata import holding as holding
from .trial import (
    NEITHER as NEITHER,
    UNLABELLED as UNLABELLED,
    SampledTest as SampledTest,
    Standing as Standing,
    Trial as Trial,
    stand as stand,
)
