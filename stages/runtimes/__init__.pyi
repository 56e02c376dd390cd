from .memory import free_memory as free_memory, out_of_memory as out_of_memory
from .preprocess import INTERPOLATIONS as INTERPOLATIONS, Preprocessing as Preprocessing
from .torch_engine import (
    DEFAULT_BATCH as DEFAULT_BATCH,
    PRECISIONS as PRECISIONS,
    Pictures as Pictures,
    Runner as Runner,
    Stopwatch as Stopwatch,
    device_name as device_name,
    open_device as open_device,
    runtime_name as runtime_name,
    synchroniser as synchroniser,
)
from .variants import VARIANTS as VARIANTS, View as View, checked as checked
