"""Arrays in files (npy, npz, pt): their shapes are told before they are read."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.lib import format as npy

from cache import InputError, one_of, open_regular
from stages.ingest.class_columns import LABELS, TOP_K
from stages.runtimes import free_memory

Opened = TypeVar("Opened")
_FLOAT32 = 4  # bytes that a value takes once more
_LITTLE = 1 << 25  # bytes: which any machine that runs this has


@dataclass(frozen=True)
class Array:
    """An array in the file `path`: what the file's header tells of it, and `load` for the rest.

    `columns` are the names of its columns, where they have any; `at` names the place of a row in
    the file; `first_line` is that of a csv, where it is numbers and so may be data or a heading.
    """

    path: str
    shape: tuple[int, ...]
    itemsize: int
    load: Callable[[], np.ndarray]
    columns: tuple[str, ...] = ()
    at: Callable[[int], str] = "row {}".format
    first_line: str = ""

    def read(self) -> np.ndarray:
        """The whole array; InputError where the memory that is free is too small for it."""
        shape = " × ".join(map(str, self.shape))
        fits(self.path, math.prod(self.shape) * (self.itemsize + _FLOAT32), f"{shape} values")
        with unreadable(self.path):
            return self.load()


def opened(path: str, openers: Mapping[str, Callable[[str], Opened]]) -> Opened:
    """A regular file, opened by that which is for the ending of its name."""
    opener = openers.get(Path(path).suffix.lower())
    if opener is None:
        raise InputError(f"cannot read {path}: its name must end in {', '.join(openers)}")
    with unreadable(path):
        with open_regular(path):
            pass
        return opener(path)


@contextmanager
def unreadable(path: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes an InputError."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"no file {path}: check the path") from error
    except Exception as error:  # each library has its own zoo of errors for a damaged file
        said = getattr(error, "strerror", None) or str(error)
        reason = (said.splitlines() or [type(error).__name__])[0]
        raise InputError(f"cannot read {path} ({reason[:120]}): check the file") from error


def fits(path: str, needed: int, what: str) -> None:
    """InputError where so many bytes are more than the memory that is free."""
    free = None if needed < _LITTLE else free_memory()
    if free is not None and needed > free:
        raise InputError(
            f"{path} holds {what}, which take {needed / 1e9:.1f} GB of memory where "
            f"{free / 1e9:.1f} GB are free: check the file, or use a larger machine"
        )


@dataclass(frozen=True)
class NamedArrays:
    """Arrays by name; an only one may have none."""

    path: str
    named: Mapping[str, Array]

    def models(self) -> list[str]:
        """Each array is one, but for the labels; an array without a name is none, and so are those
        of a top-k."""
        apart = {"", *LABELS, *(TOP_K if {*TOP_K} <= {*self.named} else ())}
        return [name for name in self.named if name not in apart]

    def of_model(self, model: str) -> NamedArrays:
        """Its array, and the labels."""
        return replace(
            self, named={name: self.named[name] for name in self.named if name in (model, *LABELS)}
        )

    def logits(self, name: str | None, label: str | None, classes: Collection[str]) -> Array:
        beside = self.label_name(label, classes)
        return self._one("logits", name, [each for each in self.named if each != beside])

    def labels(self, name: str | None) -> Array:
        return self._one("label", name, list(self.named))

    def label_name(self, name: str | None, classes: Collection[str]) -> str | None:
        return next((each for each in (name, *LABELS) if each and each in self.named), None)

    def _one(self, what: str, name: str | None, among: list[str]) -> Array:
        if name is None and len(among) != 1:
            raise InputError(
                f"{self.path} holds {len(self.named)} arrays ({', '.join(self.named)[:100]}): save "
                f"exactly one, or name that of the {what} with --{what}-column"
            )
        if name is not None and name not in self.named:
            told = one_of("array", name, [each for each in self.named if each] or ["one, nameless"])
            raise InputError(f"{self.path}: --{what}-column: {told}")
        return self.named[among[0] if name is None else name]


def open_npy(path: str) -> NamedArrays:
    """One array without a name."""
    load = partial(np.load, path, allow_pickle=False)
    with open(path, "rb") as file:
        return NamedArrays(path, {"": _headed(path, file, load)})


def open_npz(path: str) -> NamedArrays:
    """Its arrays, of which the headers are read."""

    def load(name: str) -> np.ndarray:
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[name])

    named = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            with archive.open(member) as file:
                named[name] = _headed(f"{path}: {name}", file, partial(load, name))
    return NamedArrays(path, named)


_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def _headed(path: str, file: IO[bytes], load: Callable[[], np.ndarray]) -> Array:
    """An array of which the header is read from its file."""
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"an array of version {'.'.join(map(str, version))}")
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise InputError(f"{path} holds pickled Python objects, not numbers: save a plain array")
    return Array(path, shape, dtype.itemsize, load)


def open_pt(path: str) -> NamedArrays:
    """A tensor, or tensors in a dict; views stay views until they are read."""
    from stages.models import require_torch

    require_torch()
    import torch

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            fits(path, sum(member.file_size for member in archive.infolist()), "tensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = torch.load(path, map_location="cpu", weights_only=True)
    found = {"": value} if isinstance(value, torch.Tensor) else value
    items = found.items() if isinstance(found, dict) else ()
    named = {str(key): _tensor(path, t) for key, t in items if isinstance(t, torch.Tensor)}
    if not named:
        raise InputError(f"{path} holds a {type(value).__name__}: save one tensor")
    return NamedArrays(path, named)


def _tensor(path: str, tensor: Any) -> Array:
    """A view of few bytes may stand for a large tensor, so it too is asked for its shape first."""

    def load() -> np.ndarray:
        plain = tensor.detach()
        known = plain.element_size() > 2 or not plain.is_floating_point()  # numpy has no bfloat16
        return np.asarray((plain if known else plain.float()).numpy())

    return Array(path, tuple(tensor.shape), tensor.element_size(), load)
