"""The command that makes a damaged partition again."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cache.verify import Damage

Keys = dict[str, str]


def mending(damage: Damage, cache: str | None) -> str:
    """A command line that mends it; `…` stands for what only the user knows.

    A damaged manifest goes first: while it lies there, nobody can tell what it was. So do costs,
    which commands read to see what there is left to measure.
    """
    table, keys = damage.partition.table, damage.partition.keys
    where = [] if cache is None else ["--cache", cache]
    imported = "import" in (keys.get("runtime"), damage.provenance.get("layout"))
    again = _import(keys) if imported else _COMMANDS[table](keys)
    for flag, field in _SIZES.get(again[0], {}).items():  # other sizes would make all parts again
        if damage.provenance.get(field):
            again += [flag, str(damage.provenance[field])]
    words = shlex.join(["cascade", *again, *where]).replace("'…'", "…")
    manifest = damage.path.startswith("_manifests/")
    if not manifest and table != "costs":
        return words
    named = [word for key, name in keys.items() for word in (f"--{key}", name)]
    removal = ["cascade", "cache", "rm", "--table", table, *named, "--yes", *where]
    removal += ["--damaged"] if manifest else []
    return f"{shlex.join(removal)} && {words}"


def _extract(keys: Keys) -> list[str]:
    words = ["extract", "--dataset", keys["dataset"], "--split", keys["split"], *_data(keys)]
    words += ["--models", keys.get("model", "…")]
    if keys.get("variant", "identity") != "identity":
        words += ["--variants", keys["variant"]]
    precision, _, device = keys.get("runtime", "torch-fp32-cpu").partition("-")[2].partition("-")
    words += [] if precision == "fp32" else ["--precision", precision]
    return words if device == "cpu" else [*words, "--device", device]


def _import(keys: Keys) -> list[str]:
    where = ["--dataset", keys["dataset"], "--split", keys["split"]]
    given = ["--logits", "…"] if "model" in keys else ["--logits", "…", "--labels", "…"]
    return ["import", *where, "--model", keys.get("model", "…"), *given]


def _hash(keys: Keys) -> list[str]:
    words = ["hash", "--dataset", keys["dataset"], "--split", keys["split"], *_data(keys)]
    return [*words, "--algorithms", keys["algorithm"], "--variants", keys["variant"]]


def _score(keys: Keys) -> list[str]:
    words = ["score", "--dataset", keys["dataset"], "--split", keys["split"]]
    words += ["--models", keys["model"]]
    return [*words, "--scorefn", keys["score"]] if "score" in keys else words


def _profile(keys: Keys) -> list[str]:
    if keys["runtime"] == "elsewhere":
        return ["import-costs", "…", "--dataset", keys["dataset"]]
    if keys["model"].startswith("hash:"):
        algorithm = keys["model"].removeprefix("hash:")
        return ["hash", "--dataset", keys["dataset"], *_data(keys), "--algorithms", algorithm]
    return ["profile", "--dataset", keys["dataset"], *_data(keys), "--models", keys["model"]]


def _result(keys: Keys) -> list[str]:
    return [keys["stage"], "--dataset", keys["dataset"], "--split", keys["split"], "…"]


def _stream(keys: Keys) -> list[str]:
    return ["simulate", "--dataset", keys["dataset"], "--split", keys["split"], "…"]


def _data(keys: Keys) -> list[str]:
    return [] if keys["dataset"] == "digits" else ["--data", "…"]


_SIZES = {
    "extract": {"--batch-size": "batch_size", "--part-rows": "part_rows"},
    "hash": {"--part-rows": "part_rows"},
}
_COMMANDS: dict[str, Callable[[Keys], list[str]]] = {
    "samples": _extract,
    "logits": _extract,
    "timings": _extract,
    "scores": _score,
    "extra_scores": _score,
    "costs": _profile,
    "hashes": _hash,
    "streams": _stream,
    "results": _result,
}
