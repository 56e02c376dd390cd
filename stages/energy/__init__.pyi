from .crosscheck import (
    SensorComparison as SensorComparison,
    SkippedComparison as SkippedComparison,
    cross_check as cross_check,
)
from .errors import SensorError as SensorError, SensorMissingError as SensorMissingError
from .machine import Machine as Machine
from .machine_survey import MachineSurvey as MachineSurvey, survey as survey
from .meter import (
    SHORT_WINDOW as SHORT_WINDOW,
    Idle as Idle,
    Meter as Meter,
    NoMeter as NoMeter,
    Reading as Reading,
    Sensor as Sensor,
    Window as Window,
    nothing as nothing,
)
from .nvml_library import gpu_name as gpu_name
from .opening import open_meters as open_meters
from .sensor_kind import SensorKind as SensorKind, counted as counted, sampled as sampled
from .windows import EnergyFigure as EnergyFigure, idle_of as idle_of, per_image as per_image
