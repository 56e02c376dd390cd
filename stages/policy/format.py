"""What policy.toml may say, in one table, and how it is read: alike by every command and by the
application, for which `flatten` copies this into the file beside policy.toml. numpy is not needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import inf, isclose, isfinite
from typing import Any

from cache import nearest, open_regular
from stages.cascade import ALWAYS, NEVER, OBJECTIVES
from stages.costs import UNITS
from stages.runtimes import INTERPOLATIONS
from stages.scores import LABEL_FREE, SCORES
from stages.search import QUESTIONS
from stages.statistics import share

# Version 2 added `sha256`, of all the rest; version 1 is read without.
POLICY_VERSIONS = (1, 2)
POLICY_FILE = "policy.toml"
Policy = dict[str, Any]  # as TOML has it
# Far more than any policy has. A parser of TOML takes the square of a dotted key's parts in time.
_BYTES, _LINE_BYTES, _DOTS = 1 << 18, 1000, 10_000
_LARGEST = 1 << 53  # a count that a float holds exactly


@dataclass(frozen=True)
class Kind:
    """What the value of a key must be: in words, and the test of it, types being TOML's own."""

    words: str
    holds: Callable[[Any], bool]


def _floats(words: str, low: float = -inf, high: float = inf) -> Kind:
    return Kind(
        f"a finite float{words}",
        lambda value: type(value) is float and isfinite(value) and low <= value <= high,
    )


def _integers(low: int) -> Kind:
    return Kind(
        f"an integer of {low} or more",
        lambda value: type(value) is int and low <= value <= _LARGEST,
    )


def _choice(*choices: str | int) -> Kind:
    words = " or ".join(shown_value(choice) for choice in choices)
    return Kind(words, lambda value: any(value == x and type(value) is type(x) for x in choices))


def shown_value(value: Any) -> str:
    """A value as TOML writes it, in one short line."""
    if isinstance(value, (dict, list)):
        return f"{'a table' if isinstance(value, dict) else 'an array'} of {len(value)}"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (str, bool)) else f"{value}"
    return text if len(text) <= 72 else f"{text[:72]}…"


def _is_line(value: Any) -> bool:
    return type(value) is str and value.splitlines() == [value] and min(value) >= " "


def _is_digest(value: Any) -> bool:
    return type(value) is str and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and isfinite(value))


def _is_time(value: Any) -> bool:
    """As `cache.provenance.now` writes it."""
    try:
        found = datetime.fromisoformat(value) if type(value) is str else None
    except ValueError:
        return False
    return found is not None and found.tzinfo is not None and found.isoformat() == value


def _is_objective(value: Any) -> bool:
    """That of a fitted λ, or the question that a search was asked."""
    asked = tuple(f"search: {kind}" for kind in QUESTIONS)
    return type(value) is str and (
        value in OBJECTIVES or (_is_line(value) and value.startswith(asked))
    )


def _is_plain(value: Any, depth: int = 4) -> bool:
    """Text, numbers, and arrays and tables of such."""
    if isinstance(value, (dict, list)):
        items = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(item, depth - 1) for item in items)
    return type(value) in (str, bool) or _is_number(value)


def _table_of(words: str, holds: Callable[[Any], bool]) -> Kind:
    return Kind(
        f"a table of {words}",
        lambda value: isinstance(value, dict) and all(map(holds, value.values())),
    )


_LINE = Kind("one line of text", _is_line)
_FLAG = Kind("true or false", lambda value: type(value) is bool)
_DIGEST = Kind("a SHA-256 of 64 hex digits", _is_digest)
_PLAIN = _table_of("text and numbers", _is_plain)
_COUNT, _SOME = _integers(0), _integers(1)
_NUMBER, _COST = _floats(""), _floats(" of 0 or more", 0)
_SHARE, _CHANGE = _floats(" from 0 to 1", 0, 1), _floats(" from −1 to 1", -1, 1)
LIMIT_KIND = Kind(
    f'a float from 0 to 1, "{ALWAYS}" or "{NEVER}"',
    lambda value: _SHARE.holds(value) or (type(value) is str and value in (ALWAYS, NEVER)),
)
SCORE_KIND, FLAG_KIND, CLASSES_KIND = _choice(*LABEL_FREE), _FLAG, _integers(2)


def _channels(words: str, holds: Callable[[Any], bool]) -> Kind:
    return Kind(
        f"an array of 1 or 3 numbers{words}",
        lambda value: type(value) is list and len(value) in (1, 3) and all(map(holds, value)),
    )


_MEANS = _channels("", _is_number)
_DEVIATIONS = _channels(" above 0", lambda value: _is_number(value) and value > 0)
_SIDES = Kind(
    "pixels, or an array of height and width",
    lambda value: all(
        map(_SOME.holds, value if type(value) is list and len(value) == 2 else [value])
    ),
)
_MODEL = {
    "name": _LINE,
    "runtime": _LINE,
    "weights_sha256?": _DIGEST,
    "weights_origin?": _LINE,
    "precision?": _LINE,
    "device?": _LINE,
    "parameters?": _COUNT,
    "macs?": _COUNT,
    "architecture?": _LINE,
    "classes?": CLASSES_KIND,
    "preprocessing?": {
        "mean": _MEANS,
        "std": _DEVIATIONS,
        "resize?": _SIDES,
        "crop?": _SIDES,
        "interpolation": _choice(*INTERPOLATIONS),
    },
    "decoder?": _LINE,
    "logits_sha256?": _DIGEST,
    "trained_on?": {
        "splits": Kind(
            "an array of text", lambda value: type(value) is list and all(map(_is_line, value))
        ),
        "source": _LINE,
    },
}
# Key → what it must be; one that ends in `?` may be absent, as not known.
FORMAT: dict[str, Any] = {
    "schema_version": _choice(*POLICY_VERSIONS),
    "sha256?": _DIGEST,
    "rule": {
        "score": SCORE_KIND,
        "threshold": LIMIT_KIND,
        "threshold_low?": _SHARE,
        "threshold_high?": _SHARE,
        "postcheck": FLAG_KIND,
    },
    "models": [_MODEL, _MODEL],
    "memory?": {
        "hash": _LINE,
        "key_bytes": _SOME,
        "parameters?": _PLAIN,
        "packages?": _table_of("text", _is_line),
        "size?": _SOME,
        "radius": _COUNT,
        "trust?": _SHARE,
    },
    "fit?": {
        "objective?": Kind('"best", "1se" or "search: " and its question', _is_objective),
        "split?": _LINE,
        "method?": _choice("given", "other-split", "cross-fit", "same-split", "hold-out"),
        "n?": _SOME,
        "accuracy?": _SHARE,
        "usage?": _SHARE,
    },
    "certificate?": {
        "epsilon": _SHARE,
        "delta": _SHARE,
        "bound": _LINE,
        "reference": _LINE,
        "max_usage?": _SHARE,
        "max_cost?": _COST,
        "testing": _SOME,
    },
    "promise": {
        "dataset": _LINE,
        "split": _LINE,
        "dataset_fingerprint?": _DIGEST,
        "images": _SOME,
        "right": _COUNT,
        "escalated": _COUNT,
        **dict.fromkeys(("accuracy?", "accuracy_low?", "accuracy_high?"), _SHARE),
        **dict.fromkeys(("usage?", "usage_low?", "usage_high?"), _SHARE),
        **dict.fromkeys(("accuracy_1?", "accuracy_2?", "baseline_accuracy?"), _SHARE),
        **dict.fromkeys(("cost?", "cost_1?", "cost_2?", "baseline_cost?"), _COST),
        **dict.fromkeys(("cost_low?", "cost_high?"), _NUMBER),
        "cost_kind?": _choice(*UNITS),
        "cost_unit?": _choice(*UNITS.values()),
        "cost_batch_size?": _SOME,
        **dict.fromkeys(("cost_device?", "cost_why?", "baseline?", "hash_reason?"), _LINE),
        **dict.fromkeys(("saved?", "saved_low?", "saved_high?"), _NUMBER),
        **dict.fromkeys(
            ("accuracy_change?", "accuracy_change_low?", "accuracy_change_high?"), _CHANGE
        ),
        **dict.fromkeys(("hits?", "false_hits?", "memory_entries?", "memory_bytes?"), _COUNT),
        "hit_rate?": _SHARE,
        "hash_counted?": FLAG_KIND,
    },
    "provenance?": {
        "made?": Kind("a time as 2026-01-31T12:00:00+00:00 (ISO 8601)", _is_time),
        "versions?": _table_of("text", _is_line),
        "scores?": _table_of("SHA-256s of 64 hex digits", _is_digest),
    },
}

_INTERVALS = tuple(
    tuple(f"promise.{name}{end}" for end in ("_low", "", "_high"))
    for name in ("accuracy", "usage", "cost", "saved", "accuracy_change")
)
# Keys that stand together or not at all: what is missing would be taken for something else.
_TOGETHER = (
    *_INTERVALS,
    tuple(
        f"promise.cost{end}"
        for end in ("", "_low", "_high", "_1", "_2", "_kind", "_unit", "_batch_size")
    ),
    ("promise.saved", "promise.baseline", "promise.baseline_cost", "promise.cost"),
    ("promise.hits", "promise.hit_rate", "promise.false_hits", "promise.memory_entries"),
)
# Keys whose values ascend.
_ASCENDING = (
    *_INTERVALS,
    ("rule.threshold_low", "rule.threshold", "rule.threshold_high"),
    ("promise.right", "promise.images"),
    ("promise.escalated", "promise.images"),
    ("promise.false_hits", "promise.hits", "promise.images"),
    ("promise.memory_entries", "promise.images"),
    ("promise.memory_entries", "memory.size"),
)

Flat = Mapping[str, Any]


def _accuracy(flat: Flat) -> float:
    return float(flat["promise.right"] / flat["promise.images"])


def _cost(flat: Flat) -> float | None:
    """In larger batches B's images cost what their batches do, and hashing is not told apart."""
    if flat["promise.cost_kind"] != "macs" and (
        "promise.hits" in flat or flat["promise.cost_batch_size"] > 1
    ):
        return None
    to_a = 1 - flat.get("promise.hits", 0) / flat["promise.images"]
    to_b = flat["promise.escalated"] / flat["promise.images"]
    return float(to_a * flat["promise.cost_1"] + to_b * flat["promise.cost_2"])


def _once(expected: Callable[[Flat], Any]) -> Callable[[Flat], Any]:
    """Not told of where folds were decided by a λ each: those are means over repeats."""
    return lambda flat: None if flat.get("fit.method") == "cross-fit" else expected(flat)


def _macs(row: int) -> Callable[[Flat], Any]:
    return lambda flat: flat[f"models[{row}].macs"] if flat["promise.cost_kind"] == "macs" else None


def _precision(row: int) -> Callable[[Flat], Any]:
    """Of what this program ran: torch-PRECISION-DEVICE."""

    def expected(flat: Flat) -> Any:
        engine, *rest = flat[f"models[{row}].runtime"].split("-")
        return rest[0] if engine == "torch" and len(rest) == 2 else None

    return expected


def _sent(flat: Flat) -> int | None:
    """How many images B runs on where λ alone says it."""
    if flat["rule.threshold"] != ALWAYS:
        return 0 if flat["rule.threshold"] == NEVER else None
    hits = flat["promise.hits"] if "memory.hash" in flat else 0
    return int(flat["promise.images"] - hits)


def _whole(accuracy: str) -> Callable[[Flat], Any]:
    """The nearest share of the images."""
    images = "promise.images"
    return lambda flat: round(flat[accuracy] * flat[images]) / flat[images]


def _wilson(count: str, end: str) -> Callable[[Flat], Any]:
    """An end of the interval of a count."""
    return lambda flat: getattr(share(flat[count], flat["promise.images"]), end)


def _of_baseline(name: str) -> Callable[[Flat], Any]:
    """What is said of the baseline where it is one of the models."""

    def expected(flat: Flat) -> Any:
        names = {flat[f"models[{row}].name"]: row + 1 for row in (0, 1)}
        row = names.get(flat["promise.baseline"])
        return None if row is None else flat[f"promise.{name}_{row}"]

    return expected


# Key → what the other keys make it; None and KeyError where they do not say.
_IMPLIED: Mapping[str, Callable[[Flat], Any]] = {
    **{f"models[{row}].precision": _precision(row) for row in (0, 1)},
    "promise.escalated": _sent,
    "promise.right": lambda flat: round(flat["promise.accuracy"] * flat["promise.images"]),
    "promise.accuracy": _once(_accuracy),
    "promise.usage": lambda flat: flat["promise.escalated"] / flat["promise.images"],
    **{f"promise.accuracy_{end}": _once(_wilson("promise.right", end)) for end in ("low", "high")},
    **{f"promise.usage_{end}": _wilson("promise.escalated", end) for end in ("low", "high")},
    **{key: _whole(key) for key in ("promise.accuracy_1", "promise.accuracy_2")},
    "promise.hit_rate": lambda flat: flat["promise.hits"] / flat["promise.images"],
    "promise.memory_bytes": lambda flat: (
        flat["promise.memory_entries"] * (flat["memory.key_bytes"] + 4)
    ),
    "promise.cost": _once(_cost),
    "promise.cost_1": _macs(0),
    "promise.cost_2": _macs(1),
    "promise.cost_unit": lambda flat: UNITS[flat["promise.cost_kind"]],
    "promise.baseline_cost": _of_baseline("cost"),
    "promise.baseline_accuracy": _of_baseline("accuracy"),
    "promise.saved": lambda flat: 1 - flat["promise.cost"] / flat["promise.baseline_cost"],
    "promise.accuracy_change": _once(
        lambda flat: flat["promise.accuracy"] - flat["promise.baseline_accuracy"]
    ),
}


def _names(flat: Flat) -> set[str]:
    return {flat["models[0].name"], flat["models[1].name"]}


def _scored(flat: Flat) -> bool:
    start = "provenance.scores."
    there = {key.removeprefix(start) for key in flat if key.startswith(start)}
    return not there or _names(flat) <= there


def _unbounded(flat: Flat) -> bool:
    """Beyond always and never no score is, so there λ has no end."""
    threshold, surer = flat["rule.threshold"], SCORES[flat["rule.score"]].sign > 0
    open_end = "threshold_low" if (threshold == NEVER) == surer else "threshold_high"
    return threshold not in (ALWAYS, NEVER) or f"rule.{open_end}" not in flat


def _within(row: int, flat: Flat) -> bool:
    """Of A's answers only those of images that go on are others, of B's, without post-check, only
    those of the rest; not told of a memory's answers and of means over folds."""
    key, images, sent = f"promise.accuracy_{row}", flat["promise.images"], flat["promise.escalated"]
    if key not in flat or "memory.hash" in flat or flat.get("fit.method") == "cross-fit":
        return True
    changed = sent if row == 1 else images if flat["rule.postcheck"] else images - sent
    return bool(abs(flat["promise.right"] - round(flat[key] * images)) <= changed)


# What else must hold, in words.
_CONDITIONS: tuple[tuple[str, Callable[[Flat], bool]], ...] = (
    ("two models of different names", lambda flat: len(_names(flat)) == 2),
    ("the scores of both models among provenance.scores", _scored),
    (
        "as many numbers of preprocessing.std as of mean",
        lambda flat: all(
            (f"models[{row}].preprocessing.mean[1]" in flat)
            == (f"models[{row}].preprocessing.std[1]" in flat)
            for row in (0, 1)
        ),
    ),
    (
        f'rule.threshold "{ALWAYS}" and "{NEVER}" without the end that no score is beyond',
        _unbounded,
    ),
    (
        "promise.right no further from accuracy_1 than the escalated images make it",
        lambda flat: _within(1, flat),
    ),
    (
        "promise.right no further from accuracy_2 than the images that are not escalated make it",
        lambda flat: _within(2, flat),
    ),
    (
        "a promise.cost_device for joules and latency, and none for multiply-adds",
        lambda flat: (
            (flat.get("promise.cost_kind") in (None, "macs")) == ("promise.cost_device" not in flat)
        ),
    ),
    (
        "hits only of a policy with a memory",
        lambda flat: "promise.hits" not in flat or "memory.hash" in flat,
    ),
)


def policy_digest(policy: Mapping[str, Any]) -> str:
    """SHA-256 of all that a policy says but its `sha256`: of no order, layout or comment."""
    content = {key: value for key, value in policy.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_policy(folder: str | os.PathLike[str]) -> Policy:
    """What `folder`/policy.toml says.

    ValueError, in one line, for whatever is no policy; FileNotFoundError where there is none.
    """
    where = os.path.join(folder, POLICY_FILE)
    try:
        with open_regular(where) as file:
            data = file.read(_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"cannot read {where}: {error.strerror or error}; {_AGAIN}") from error
    return checked_policy(parsed_policy(data, where), where)


_AGAIN = "export it again (`cascade export --policy DIR`)"


def parsed_policy(data: bytes, where: str) -> Policy:
    """The TOML."""
    longest = max(map(len, data.splitlines()), default=0)
    try:
        if len(data) > _BYTES or longest > _LINE_BYTES or data.count(b".") > _DOTS:
            raise ValueError(
                f"larger than {_BYTES >> 10} KiB, a line of more than {_LINE_BYTES} bytes, or more "
                f"than {_DOTS} dots"
            )
        return tomllib.loads(data.decode("utf-8-sig"))
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise ValueError(f"{where} is no policy ({reason}): {_AGAIN}")


def checked_policy(policy: Policy, where: str) -> Policy:
    """The policy itself. ValueError for the first thing in it that cannot be: key, what was found
    and what was expected; and for one that was edited after it was exported."""
    for fault in _faults(policy):
        raise ValueError(f"{where}: {fault}: {_AGAIN}")
    if policy.get("sha256") not in (None, policy_digest(policy)):
        raise ValueError(
            f"{where} was edited after it was exported (its sha256 is not that of its content): "
            "export it again, with -t for another λ, or delete the line sha256 to vouch for it"
        )
    return policy


def _faults(policy: Policy) -> Iterator[str]:
    """What is wrong, one a line; relations are held only between values that are what they must
    be."""
    if "schema_version" in policy:  # one from the future has other keys
        yield from _misfits(FORMAT["schema_version"], policy["schema_version"], "schema_version")
    yield from _misfits(FORMAT, policy, "")
    flat = dict(dotted(policy, ""))
    for key, expected in _contradicted(flat):
        found = shown_value(flat[key]) if key in flat else "missing"
        yield f"{key} is {found}, expected {expected}"
    for words, holds in _CONDITIONS:
        if not holds(flat):
            yield f"expected {words}"


def _misfits(kind: Any, value: Any, at: str) -> Iterator[str]:
    """Values that are not of the kind, keys that are missing and keys that are not known."""
    if isinstance(kind, Kind):
        if not kind.holds(value):
            yield f"{at} is {shown_value(value)}, expected {kind.words}"
    elif isinstance(kind, list):
        if type(value) is not list or len(value) != len(kind):
            yield f"{at} is {shown_value(value)}, expected an array of {len(kind)} tables"
            return
        for row, (each, item) in enumerate(zip(kind, value, strict=True)):
            yield from _misfits(each, item, f"{at}[{row}]")
    elif type(value) is not dict:
        yield f"{at} is {shown_value(value)}, expected a table"
    else:
        yield from _misfits_of_table(kind, value, f"{at}." if at else "")


def _misfits_of_table(kinds: Mapping[str, Any], found: Mapping[str, Any], at: str) -> Iterator[str]:
    known = {key.rstrip("?"): kind for key, kind in kinds.items()}
    for key in (key for key in found if key not in known):
        near = nearest(key, list(known))
        hint = f"did you mean {near}" if near else f"expected only {', '.join(known)}"
        yield f"{at}{shown_value(key)[1:-1]} is no key of a policy, {hint}"
    for key, kind in known.items():
        if key in found:
            yield from _misfits(kind, found[key], at + key)
        elif key in kinds:
            yield f"{at}{key} is missing, expected {getattr(kind, 'words', 'a table')}"


def dotted(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    """Dotted key → value: `rule.score`, `models[0].name`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from dotted(item, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for row, item in enumerate(value):
            yield from dotted(item, f"{at}[{row}]")
    else:
        yield at, value


def _contradicted(flat: Flat) -> Iterator[tuple[str, str]]:
    """Keys that the others contradict, and what these expect."""
    for group in _TOGETHER:
        there = [key for key in group if key in flat]
        yield from ((key, f"it beside {there[0]}") for key in group if there and key not in flat)
    for keys in _ASCENDING:
        known = [key for key in keys if type(flat.get(key)) in (int, float)]
        for low, high in pairwise(known):
            if flat[low] > flat[high]:
                yield low, f"at most {high}, {shown_value(flat[high])}"
    for key, implied in _IMPLIED.items():
        expected = _implied(implied, flat) if key in flat else None
        if expected is not None and not _same(flat[key], expected):
            yield key, f"{shown_value(expected)} by what else it says"


def _implied(implied: Callable[[Flat], Any], flat: Flat) -> Any:
    try:
        return implied(flat)
    except (KeyError, ZeroDivisionError):
        return None


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, str):
        return bool(found == expected)
    return isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)
