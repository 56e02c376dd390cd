from .checking import (
    Allowance as Allowance,
    check as check,
    check_unedited as check_unedited,
    not_compared as not_compared,
    target_of as target_of,
)
from .decision_log import DecisionLog as DecisionLog
from .fallback import Fallback as Fallback
from .file import (
    FILE as FILE,
    Deployment as Deployment,
    ModelFacts as ModelFacts,
    PolicyPromise as PolicyPromise,
    deployable as deployable,
    document as document,
    model_facts as model_facts,
    promised as promised,
    read as read,
    write as write,
    written_beside as written_beside,
)
from .onnx_folder import onnx_files as onnx_files
from .onnx_graph import OnnxStage as OnnxStage
from .restoring import first_left as first_left, restoring as restoring
from .runtime import (
    CascadeRuntime as CascadeRuntime,
    Record as Record,
    Said as Said,
    with_fitted as with_fitted,
)
