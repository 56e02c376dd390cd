from .common import (
    INT8 as INT8,
    PRECISIONS as PRECISIONS,
    Array as Array,
    Device as Device,
    ModelRunner as ModelRunner,
    Stopwatch as Stopwatch,
    default_batch as default_batch,
    device_name as device_name,
    engine_name as engine_name,
    engine_of as engine_of,
    free_bytes as free_bytes,
    int8_saturates as int8_saturates,
    not_installed as not_installed,
    open_device as open_device,
    release as release,
    require_engine as require_engine,
    runner_of as runner_of,
    runtime_name as runtime_name,
    said_by as said_by,
    synchroniser as synchroniser,
    usual_engine as usual_engine,
)
from .memory import free_memory as free_memory, out_of_memory as out_of_memory
from .onnx_model import OnnxModel as OnnxModel
from .onnx_session import session as session
from .pictures import Pictures as Pictures, seeded_pictures as seeded_pictures
from .preprocess import INTERPOLATIONS as INTERPOLATIONS, Preprocessing as Preprocessing
from .torch_engine import Runner as Runner
from .variants import VARIANTS as VARIANTS, View as View, checked as checked
