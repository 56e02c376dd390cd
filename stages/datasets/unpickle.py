"""Reads the pickles of the CIFAR archives without trusting them.

A pickle is a program, so nothing that it names is ever imported: the few names that arrays need are
answered with the stand-ins below, and any other name is refused. numpy's own classes stay out of
reach too, because a forged state of a dtype can make numpy take bytes for pointers.
"""

from __future__ import annotations

import pickle
from io import BytesIO
from typing import Any

import numpy as np


class _DType:
    """Stands in for numpy.dtype."""

    def __init__(self, name: str | bytes, *_: object) -> None:
        self.name = name.decode() if isinstance(name, bytes) else name

    def __setstate__(self, state: object) -> None:
        """Byte order and flags: nothing that one-byte integers have."""


class _Array:
    """Stands in for numpy.ndarray and for the functions that rebuild one."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state[-4:]  # a version number leads it, except in the oldest pickles

    def uint8(self) -> np.ndarray:
        shape, dtype, fortran, data = self.state
        if dtype.name not in ("u1", "uint8"):
            raise ValueError(f"an array of {dtype.name} where uint8 was expected")
        return np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


class _Buffer(_Array):
    """Stands in for numpy's `_frombuffer`, which protocol 5 uses."""

    def __init__(self, data: object, dtype: object, shape: object, order: str) -> None:
        self.state = (shape, dtype, order == "F", data)


class _Latin1(bytes):
    """Stands in for `_codecs.encode`, with which Python 3 wrote bytes for Python 2."""

    def __new__(cls, text: str, *_: object) -> _Latin1:
        return super().__new__(cls, text, "latin1")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("bytes have no state")


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _Buffer,
    ("numpy._core.numeric", "_frombuffer"): _Buffer,
    ("_codecs", "encode"): _Latin1,
}


# Python's own unpickler: the one in C takes memory by the size that a damaged file claims.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"refused, because it wants to run {module}.{name}"
            ) from None


def load_batch(data: bytes) -> dict[str, Any]:
    """A pickled dict of plain values and uint8 arrays; keys as str, Python 2 strings as bytes.

    Raises whatever a damaged pickle leads to, and UnpicklingError for one that names anything else
    than arrays, before anything is executed.
    """
    batch = _Unpickler(BytesIO(data), encoding="bytes").load()
    if not isinstance(batch, dict):
        raise pickle.UnpicklingError(f"holds a {type(batch).__name__} instead of a dict")
    return {as_text(k): v.uint8() if isinstance(v, _Array) else v for k, v in batch.items()}


def as_text(name: object) -> str:
    """A name of either Python."""
    return name.decode() if isinstance(name, bytes) else str(name)
