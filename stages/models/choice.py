"""From what a user asks for (names, "all", aliases, files) to models with weights."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from cache import InputError, nearest
from stages.missing import IMPORTED
from stages.models import programs
from stages.models.records import Facts, Recorded, same_bytes
from stages.models.registry import get, knows, specs
from stages.models.spec import ModelSpec
from stages.models.weights import Weights, available, digest, find, own_file, stated
from stages.scores import check_reserved

PathLike = str | os.PathLike[str]
GROUPS = ("all", "all-available")
LONGEST = 200  # bytes of a percent-encoded name: file systems end at 255, and "model=" is added


@dataclass(frozen=True)
class Chosen:
    """A model to run: `name` is its cache partition, the spec's own name or an alias."""

    name: str
    spec: ModelSpec
    weights: Weights


def choose(
    dataset: str,
    names: Iterable[str],
    aliases: Iterable[str] = (),
    files: Mapping[str, PathLike] | None = None,
    directory: PathLike | None = None,
    download: bool = True,
    preprocess: PathLike | None = None,
    recorded: Recorded = lambda name: (),
) -> list[Chosen]:
    """The models asked for, with their weights, in the order asked for.

    `names` are model names, aliases' names, "all" or "all-available" (those that need no download).
    An alias "small=resnet20:ft.pt" is a model of its own: resnet20 with that file. Aliases that no
    name mentions come last. `files` gives the weights file of a name. A file that ends in .pt2 is a
    torch.export program, one in .onnx an ONNX model, whatever its name; "file:PATH.pt2" and
    "onnx:PATH.onnx" are called after the file, and `preprocess` is their JSON, by default the one
    beside each. A name that is none of these may be
    one that `recorded` has facts of: it is that architecture, with the file called NAME in
    `directory`. What was recorded of the same bytes holds where no JSON says otherwise. Raises
    InputError for what is unknown, malformed, asked for twice or without weights.
    """
    names = [aliased(name) for name in names]
    known = _aliases([*aliases, *(name for name in names if "=" in name)])
    wanted = [each for name in names for each in _expanded(name, dataset, directory)]
    wanted += [name for name in known if name not in wanted]
    given = dict(files or {})
    _check_wanted(wanted, given)
    chosen = []
    for name in wanted:
        architecture, own = known.get(name, (name, None))
        file: PathLike | None = given.get(name, own)
        facts = None if name in known else of_record(name, dataset, recorded)
        if facts is not None:
            architecture = facts["architecture"]
            file = file or own_file(name, directory, program=architecture == name)
        if f"{architecture}:" in programs.PREFIXES:
            programs.name_of(f"{architecture}:{file}")  # refuses what is no program
        if file is not None and Path(file).suffix in programs.FAMILIES:
            one = _program(name, dataset, Path(file), preprocess, recorded)
        else:
            spec = get(architecture, dataset)
            one = Chosen(name, spec, find(spec, file, directory, download))
        chosen.append(_as_before(one, recorded))
    if preprocess is not None and all(
        one.spec.family not in programs.FAMILIES.values() for one in chosen
    ):
        raise InputError(
            "--preprocess is for file:PATH.pt2 and onnx:PATH.onnx models, and none is asked for"
        )
    return chosen


def of_record(name: str, dataset: str, recorded: Recorded) -> Facts | None:
    """What is recorded of a model that nothing else knows; InputError where that cannot run."""
    facts = None if knows(name, dataset) else next(iter(recorded(name)), None)
    if facts is None or "architecture" in facts:
        return facts
    if facts["runtime"] == IMPORTED:
        raise InputError(
            f"the logits of {name} on {dataset} were imported, so there is no model to run: if you "
            f"have it, say {name}=ARCHITECTURE:FILE"
        )
    return None


def _as_before(one: Chosen, recorded: Recorded) -> Chosen:
    """With what its weights were trained on, where that is known of the same bytes."""
    weights = one.weights
    if weights.trained_on_source != "assumed":
        return one
    trained = (same_bytes(recorded(one.name), weights.sha256) or {}).get("trained_on")
    if not trained:
        return one
    splits, source = tuple(trained["splits"]), trained["source"]
    return replace(one, weights=replace(weights, trained_on=splits, trained_on_source=source))


def _program(
    name: str, dataset: str, file: Path, preprocess: PathLike | None, recorded: Recorded
) -> Chosen:
    def before() -> Facts | None:
        return same_bytes(recorded(name), digest(file))

    spec = programs.spec(name, dataset, file, preprocess, before)
    weights, splits = find(spec, file), stated(Path(preprocess or file))
    if splits is not None:
        weights = replace(weights, trained_on=splits, trained_on_source="stated")
    return Chosen(name, spec, weights)


def aliased(name: str) -> str:
    """The name, `file:PATH.pt2` or `onnx:PATH.onnx` as the alias that it is short for."""
    if not name.startswith(programs.PREFIXES):
        return name
    return f"{programs.name_of(name)}={name}"


def check_name(name: str) -> str:
    """The name itself if it can be a partition's, else InputError."""
    check_reserved([name])
    if not name or name != name.strip() or name in GROUPS:
        raise InputError(f"{name!r} cannot be a model's name: choose another")
    if not {",", "="}.isdisjoint(name) or name.startswith(programs.PREFIXES):
        raise InputError(
            f"model name {name!r} could not be asked for: leave out ',', '=' and a first "
            f"{' or '.join(map(repr, programs.PREFIXES))}"
        )
    if any(unicodedata.category(letter).startswith("C") for letter in name):
        raise InputError(f"model name {name!r} holds a control character: choose another")
    if ".." in name or name.startswith("/"):
        raise InputError(f"model name {name!r} looks like a path: leave out '..' and a first '/'")
    if len(quote(name, safe="")) > LONGEST:
        raise InputError(f"model name {name[:20]!r}… is too long: choose a shorter one")
    return name


def _aliases(texts: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Name → (architecture, file) of "name=architecture:file"."""
    known: dict[str, tuple[str, str]] = {}
    for text in texts:
        name, _, rest = text.partition("=")
        architecture, _, file = rest.partition(":")
        if not (architecture and file):
            raise InputError(f"alias {text!r} is not understood: write NAME=ARCHITECTURE:FILE")
        if check_name(name) in known:
            raise InputError(f"model {name!r} is defined twice: give each alias its own name")
        known[name] = (architecture, file)
    return known


def _expanded(name: str, dataset: str, directory: PathLike | None) -> list[str]:
    if name not in GROUPS:
        return [name.partition("=")[0]]
    found = specs(dataset)
    if name == "all-available":
        found = available(found, directory)
    if not found:
        near = nearest(dataset, list(dict.fromkeys(spec.dataset for spec in specs())))
        meant = f"did you mean {near}? Else " if near not in (None, dataset) else ""
        raise InputError(
            f"no weights for any {dataset} model: {meant}give --weights DIR or name the models"
        )
    return [spec.name for spec in found]


def _check_wanted(wanted: list[str], files: Mapping[str, PathLike]) -> None:
    if not wanted:
        raise InputError("no model asked for: name one, or say all or all-available")
    for name in wanted:
        check_name(name)
        if wanted.count(name) > 1:
            raise InputError(f"model {name!r} is asked for twice: name each once")
    for name in files:
        if name not in wanted:
            raise InputError(f"weights are given for {name!r}, which is not asked for: name it")
