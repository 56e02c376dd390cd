"""Where a model's weights come from, and what they were trained on.

In this order: an explicit file; a folder; the package; torch.hub's store; the published address.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from cache import InputError, Provenance
from stages.models.factory import call, fault, guarded, has, loaded, require_torch
from stages.models.onnx_file import facts
from stages.models.registry import dataset_of
from stages.models.spec import ONNX, ModelSpec, Published
from stages.runtimes import OnnxModel

if TYPE_CHECKING:
    from torch import nn

SHIPPED = Path(__file__).with_name("shipped")
SUFFIXES, PROGRAMS = (".pt", ".pth", ".safetensors"), (".pt2", ".onnx")


@dataclass(frozen=True)
class Exported:
    """The ONNX file that was made of a model with its weights, and what made it."""

    path: Path
    about: Provenance = field(hash=False)


@dataclass(frozen=True)
class Weights:
    """A weights file: `origin` is file, directory, shipped, store or published (just fetched).

    `trained_on` names the splits it has seen; `trained_on_source` is "stated" (a JSON beside it),
    "published" or "shipped" (the registry's fact about these very bytes), or "assumed".
    Where `exported` is given that is what runs.
    """

    path: Path
    sha256: str
    origin: str
    trained_on: tuple[str, ...]
    trained_on_source: str
    exported: Exported | None = None


def find(
    spec: ModelSpec,
    file: str | os.PathLike[str] | None = None,
    directory: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> Weights:
    """The weights of `spec`, fetched from the published address if nowhere else and allowed.

    `directory` holds NAME.pt, NAME.pth or NAME.safetensors. A JSON beside a file, such as
    `{"trained_on": ["train"]}` in NAME.json, states which splits it has seen. Raises InputError
    where there are none, or where the bytes are not those that were published.
    """
    found = locate(spec, file, directory)
    if found is not None:
        weights = _described(spec, *found)
        if weights.origin != "store" or _is_published(spec.published, weights.sha256):
            return weights
        if not download:
            raise InputError(
                f"{weights.path} is damaged: its SHA-256 starts with {weights.sha256[:8]}, not as "
                f"published; delete it, or give --weights DIR"
            )
    return _fetched(spec, directory, download)


def locate(
    spec: ModelSpec,
    file: str | os.PathLike[str] | None = None,
    directory: str | os.PathLike[str] | None = None,
) -> tuple[Path, str] | None:
    """Path and origin of the weights that need no download, None where there are none; no hash."""
    if file is not None:
        if not os.path.isfile(file):
            raise InputError(f"no weights file {os.fspath(file)} for {spec.name}: check the path")
        return Path(file), "file"
    for path, origin in _places(spec, directory):
        if os.path.isfile(path):
            return path, origin
    return None


def own_file(name: str, directory: str | os.PathLike[str] | None, program: bool) -> Path:
    """NAME.pt, .pth, .safetensors, .pt2 or .onnx in the folder, for a model of one's own name.

    .pt2 and .onnx come first for a `program`, last for an architecture.
    """
    suffixes = (*PROGRAMS, *SUFFIXES) if program else (*SUFFIXES, *PROGRAMS)
    places = [] if directory is None else _in_folder(name, directory, suffixes)
    found = next((path for path in places if os.path.isfile(path)), None)
    if found is None:
        where = "" if directory is None else f" in {os.fspath(directory)}"
        raise InputError(
            f"no weights for {name}{where}: give --weights DIR with {name}.pt, .pth, .safetensors, "
            f".pt2 or .onnx, or extract {name}=ARCHITECTURE:FILE"
        )
    return found


def available(
    specs: Iterable[ModelSpec], directory: str | os.PathLike[str] | None = None
) -> list[ModelSpec]:
    """The specs whose weights are found without a download, in the given order."""
    return [spec for spec in specs if locate(spec, directory=directory) is not None]


def load(spec: ModelSpec, weights: Weights) -> nn.Module | OnnxModel:
    """The module in eval mode on the CPU, float32; its class count is that of the weights. Of what
    is, or was exported as, an ONNX file that file, for ONNX Runtime.

    Raises InputError that names the file and the first tensor that is missing, unexpected, of
    another shape or not finite. Only tensors are read: a pickle with code in it is refused.
    """
    if weights.exported is not None:
        return facts(weights.exported.path)
    if spec.family == ONNX:
        return call(spec, "load", spec, weights.path)  # type: ignore[no-any-return]
    require_torch()
    from stages.models.checkpoint import restored

    read = loaded if has(spec, "load") else restored
    return guarded(spec, read(spec, weights.path))


def store() -> Path:
    """torch.hub's folder of downloaded weights, as its documentation defines it."""
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(caches, "torch"))
    return Path(os.path.expanduser(home), "hub", "checkpoints")


def _places(
    spec: ModelSpec, directory: str | os.PathLike[str] | None
) -> Iterable[tuple[Path, str]]:
    if directory is not None:
        yield from ((path, "directory") for path in _in_folder(spec.name, directory, SUFFIXES))
    if spec.shipped is not None:
        yield SHIPPED / spec.shipped, "shipped"
    if spec.published is not None:
        yield store() / spec.published.file_name, "store"


def _in_folder(name: str, directory: str | os.PathLike[str], suffixes: Iterable[str]) -> list[Path]:
    if not os.path.isdir(directory):
        raise InputError(f"no weights folder {os.fspath(directory)}: check --weights")
    stems = dict.fromkeys((quote(name, safe=""), name))
    return [Path(directory, stem + suffix) for stem in stems for suffix in suffixes]


def _fetched(spec: ModelSpec, directory: str | os.PathLike[str] | None, download: bool) -> Weights:
    if spec.fetches:
        file = call(spec, "fetch", download=download, **spec.options)
        if not isinstance(file, Path):
            raise fault(spec, f"its fetch() gives a {type(file).__name__}, not a Path")
        return _described(spec, file, "published")
    if spec.published is None or not download:
        raise InputError(_nowhere(spec, directory))
    require_torch()
    from torch.hub import download_url_to_file

    url, prefix = spec.published.url, spec.published.sha256_prefix
    path = store() / spec.published.file_name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # writes under a temporary name and renames once the hash is right
        download_url_to_file(url, str(path), prefix, progress=sys.stderr.isatty())
    except (OSError, HTTPException, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"cannot fetch the weights of {spec.name} from {url} ({reason}): "
            f"put {spec.name}.pt into a folder and give --weights DIR"
        ) from error
    return _described(spec, path, "published")


def _nowhere(spec: ModelSpec, directory: str | os.PathLike[str] | None) -> str:
    looked = [] if directory is None else [os.fspath(directory)]
    looked += [] if spec.published is None else [str(store())]
    where = f" in {' or '.join(looked)}" if looked else ""
    home = dataset_of(spec.name)
    own = "" if home == spec.dataset else f" ({spec.name} is a model of {home})"
    return (
        f"no weights for {spec.name} on {spec.dataset}{where}: give --weights DIR with "
        f"{spec.name}.pt, .pth or .safetensors, or --model NAME={spec.name}:FILE{own}"
    )


def _described(spec: ModelSpec, path: Path, origin: str) -> Weights:
    sha256 = digest(path)
    splits = stated(path)
    if splits is not None:
        return Weights(path, sha256, origin, splits, "stated")
    if origin == "shipped":
        return Weights(path, sha256, origin, spec.trained_on, "shipped")
    if _is_published(spec.published, sha256):
        return Weights(path, sha256, origin, spec.trained_on, "published")
    return Weights(path, sha256, origin, ("train",), "assumed")


def _is_published(published: Published | None, sha256: str) -> bool:
    return published is not None and sha256.startswith(published.sha256_prefix)


def digest(path: Path) -> str:
    """The SHA-256 of a weights file, of an ONNX model followed by the files that belong to it."""
    external = facts(path).external if path.suffix == ".onnx" else ()
    whole = hashlib.sha256()
    try:
        for each in (path, *external):
            with open(each, "rb") as stream:
                hashlib.file_digest(stream, lambda: whole)
        return whole.hexdigest()
    except OSError as error:
        raise InputError(f"cannot read weights {path} ({error.strerror}): check it") from error


def stated(path: Path) -> tuple[str, ...] | None:
    """The splits that a JSON beside the weights names, None where it does not speak of them."""
    beside = path.with_suffix(".json")
    if not os.path.isfile(beside):
        return None
    try:
        facts = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{beside} cannot be read as JSON: correct or remove it") from error
    splits = facts.get("trained_on", ()) if isinstance(facts, dict) else None
    if splits == ():
        return None
    if not isinstance(splits, list) or not all(isinstance(split, str) for split in splits):
        raise InputError(f'{beside} should be like {{"trained_on": ["train"]}}: correct it')
    return tuple(splits)
