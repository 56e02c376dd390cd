"""What can go wrong with a sensor, as types where that is acted on."""

from __future__ import annotations


class SensorError(Exception):
    """A sensor gave no usable value; the message is one line and becomes a reading's `reason`."""


class SensorMissingError(SensorError):
    """There is no such sensor, or its library is not installed."""


class NoPermissionError(SensorError):
    """The sensor exists but this user may not read it."""


class DeviceLostError(SensorError):
    """The device fell off the bus, was reset, or its driver went away."""


# NVML's error classes by name, because pynvml makes them at import and may be absent.
NVML = {
    "NVMLError_GpuIsLost": DeviceLostError,
    "NVMLError_ResetRequired": DeviceLostError,
    "NVMLError_DriverNotLoaded": SensorMissingError,
    "NVMLError_LibraryNotFound": SensorMissingError,
    "NVMLError_NotFound": SensorMissingError,
    "NVMLError_LibRmVersionMismatch": SensorMissingError,
}


def from_nvml(error: Exception, what: str) -> SensorError:
    """The typed exception for an NVMLError raised while doing `what`."""
    kind = NVML.get(type(error).__name__, SensorError)
    return kind(f"{what}: {error}")
