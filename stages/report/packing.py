"""Facts and arrays as one text that a page can carry: deflated, then base64.

Layout after inflating: the length of the header (uint32), the header as JSON, then the arrays as
the header's `arrays` lists them. An array lies plane by plane, all first bytes, then all second
ones, for this compresses best.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

_INTEGERS = (np.int8, np.int16, np.int32)


def pack(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """`facts` must be JSON-ready; integers become as narrow as their values allow.

    >>> unpack(pack({"n": 2}, {"k": np.array([1, 300])}))
    ({'n': 2}, {'k': array([  1, 300], dtype=int16)})
    """
    narrow = {name: _narrow(values) for name, values in arrays.items()}
    about = {name: [values.dtype.str[1:], len(values)] for name, values in narrow.items()}
    header = json.dumps(
        {"facts": facts, "arrays": about},
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    ).encode()
    planes = [values.view(np.uint8).reshape(-1, values.itemsize).T for values in narrow.values()]
    parts = [np.uint32(len(header)).tobytes(), header, *(plane.tobytes() for plane in planes)]
    return base64.b64encode(zlib.compress(b"".join(parts))).decode("ascii")


def unpack(text: str) -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """The facts and arrays again."""
    raw = zlib.decompress(base64.b64decode(text))
    at = 4 + int(np.frombuffer(raw[:4], "<u4")[0])
    header, arrays = json.loads(raw[4:at]), {}
    for name, (kind, count) in header["arrays"].items():
        dtype = np.dtype(f"<{kind}")
        planes = np.frombuffer(raw, np.uint8, count * dtype.itemsize, at)
        whole = np.ascontiguousarray(planes.reshape(dtype.itemsize, count).T)
        arrays[name] = whole.reshape(-1).view(dtype)
        at += count * dtype.itemsize
    return header["facts"], arrays


def _narrow(values: np.ndarray) -> np.ndarray:
    """Little-endian, one-dimensional, contiguous."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.dtype.kind == "f":
        return flat.astype("<f8")
    low, high = int(flat.min(initial=0)), int(flat.max(initial=0))
    for kind in _INTEGERS:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return flat.astype(np.dtype(kind).newbyteorder("<"))
    raise ValueError(f"{low} to {high} do not fit into 32 bits")
