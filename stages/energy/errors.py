"""What can go wrong with a sensor, as types; vendors' errors are mapped to them in one table."""

from __future__ import annotations

import errno


class SensorError(Exception):
    """A sensor gave no usable value; the message is one line and becomes a reading's `reason`."""


class SensorMissingError(SensorError):
    """There is no such sensor, or its library is not installed."""


class NotSupportedError(SensorError):
    """The sensor exists but does not offer this quantity."""


class NoPermissionError(SensorError):
    """The sensor exists but this user may not read it."""


class DeviceLostError(SensorError):
    """The device fell off the bus, was reset, or its driver went away."""


class CounterResetError(SensorError):
    """A cumulative counter went back without a wrap."""


class ReadFailedError(SensorError):
    """Any other failed read."""


# NVML's error classes by name, because pynvml makes them at import and may be absent.
NVML = {
    "NVMLError_NotSupported": NotSupportedError,
    "NVMLError_FunctionNotFound": NotSupportedError,
    "NVMLError_ArgumentVersionMismatch": NotSupportedError,
    "NVMLError_Deprecated": NotSupportedError,
    "NVMLError_NoPermission": NoPermissionError,
    "NVMLError_GpuIsLost": DeviceLostError,
    "NVMLError_ResetRequired": DeviceLostError,
    "NVMLError_DriverNotLoaded": SensorMissingError,
    "NVMLError_LibraryNotFound": SensorMissingError,
    "NVMLError_NotFound": SensorMissingError,
    "NVMLError_LibRmVersionMismatch": SensorMissingError,
}

FILE = {
    errno.EACCES: NoPermissionError,
    errno.EPERM: NoPermissionError,
    errno.ENOENT: SensorMissingError,
    errno.ENODEV: DeviceLostError,
    errno.ENXIO: DeviceLostError,
    errno.EOPNOTSUPP: NotSupportedError,
}


def from_nvml(error: Exception, what: str) -> SensorError:
    """The typed exception for an NVMLError raised while doing `what`."""
    kind = NVML.get(type(error).__name__, ReadFailedError)
    return kind(f"{what}: {error}")


def from_os(error: OSError, what: str) -> SensorError:
    """The typed exception for an OSError raised while doing `what`."""
    kind = FILE.get(error.errno or 0, ReadFailedError)
    return kind(f"{what}: {error.strerror or error}")
