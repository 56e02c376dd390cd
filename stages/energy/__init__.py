"""Joules that can be trusted: one meter interface, one module per sensor, each read with its doubt.

from stages.energy import open_meters
gpu, *host = open_meters(["cuda:0"])
idle = gpu.measure_idle(5.0, torch.cuda.synchronize)
with gpu.window(torch.cuda.synchronize, idle) as window:
    work()
window.reading.energy_j        # None with `.reason` where nothing measured
"""

from __future__ import annotations

from stages.energy.added import SensorKind, counted, sampled
from stages.energy.errors import SensorError, SensorMissingError
from stages.energy.machine import Machine
from stages.energy.meter import Idle, Meter, NoMeter, Reading, Sensor, Window, nothing
from stages.energy.opening import open_meters

__all__ = [
    "Idle",
    "Machine",
    "Meter",
    "NoMeter",
    "Reading",
    "Sensor",
    "SensorError",
    "SensorKind",
    "SensorMissingError",
    "Window",
    "counted",
    "nothing",
    "open_meters",
    "sampled",
]
