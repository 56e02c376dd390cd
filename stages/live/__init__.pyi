from .serving import (
    LiveCascade as LiveCascade,
    LiveMemory as LiveMemory,
    Served as Served,
    serve_all as serve_all,
)
from .summary import (
    Agreement as Agreement,
    EnergySummary as EnergySummary,
    LiveRow as LiveRow,
    MeterSummary as MeterSummary,
    agreement as agreement,
    classification as classification,
    energy_summary as energy_summary,
    latency_summary as latency_summary,
    record as record,
    usual_ms as usual_ms,
)
