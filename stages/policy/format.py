"""What policy.toml may say, in one table, and how it is read: alike by every command and by the
application, for which `flatten` copies this into the file beside policy.toml. numpy is not needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import isclose, isfinite
from typing import Any

from cache import nearest, open_regular
from stages.cascade import ALWAYS, ENSEMBLE, NEVER, OBJECTIVES, MemoryPolicy
from stages.costs import OF_EACH_REQUEST, UNITS
from stages.runtimes import INTERPOLATIONS
from stages.scores import (
    ABSTAIN,
    BASES,
    HUMAN,
    LABEL_FREE,
    NOBODYS,
    SCORES,
    VOTE_SHARE,
    allows,
    built_in,
    confidence,
    made_of,
    unfit,
)
from stages.search import QUESTIONS
from stages.statistics import share, with_ends

# Version 2 added `sha256`, of all the rest; version 1 is read without.
# Version 3 may hold more than a pair by one of the rule's own scores, say what answers where B
# fails, and end with a stage that is no model.
POLICY_VERSIONS = (1, 2, 3)
ANSWER_OF_A = "answer of A"
POLICY_FILE = "policy.toml"
Policy = dict[str, Any]  # as TOML has it
# Far more than any policy has. A parser of TOML takes the square of a dotted key's parts in time.
_BYTES, _LINE_BYTES, _DOTS = 1 << 18, 1000, 10_000
_MOST = 1 << 53  # a count that a float holds exactly
_LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Kind:
    """What the value of a key must be: in words, and the test of it, types being TOML's own."""

    words: str
    holds: Callable[[Any], bool]


def _number(kind: type[int] | type[float], words: str, low: float, high: float) -> Kind:
    return Kind(words, lambda value: type(value) is kind and low <= value <= high)


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
    return _is_line(value) and (value in OBJECTIVES or value.startswith(asked))


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


def _array_of(words: str, holds: Callable[[Any], bool], *counts: int) -> Kind:
    return Kind(
        f"an array of {words}",
        lambda value: (
            type(value) is list and (not counts or len(value) in counts) and all(map(holds, value))
        ),
    )


_LINE = Kind("one line of text", _is_line)
_DIGEST = Kind("a SHA-256 of 64 hex digits", _is_digest)
_PLAIN = _table_of("text and numbers", _is_plain)
_COUNT = _number(int, "an integer of 0 or more", 0, _MOST)
_SOME = _number(int, "an integer of 1 or more", 1, _MOST)
_FINITE = _number(float, "a finite float", -_LARGEST, _LARGEST)
_COST = _number(float, "a finite float of 0 or more", 0, _LARGEST)
_SHARE = _number(float, "a finite float from 0 to 1", 0, 1)
_CHANGE = _number(float, "a finite float from −1 to 1", -1, 1)
LIMIT_KIND = Kind(
    f'a float from 0 to 1, "{ALWAYS}" or "{NEVER}"',
    lambda value: _SHARE.holds(value) or (type(value) is str and value in (ALWAYS, NEVER)),
)
NUMBER_KIND = Kind(
    f'a finite float, "{ALWAYS}" or "{NEVER}"',
    lambda value: _FINITE.holds(value) or (type(value) is str and value in (ALWAYS, NEVER)),
)
SCORE_KIND = _choice(*LABEL_FREE)
ANSWERS = "answers"  # what models give that have no logits: (prediction, confidence)
MOST_MODELS = 3
FLAG_KIND = Kind("true or false", lambda value: type(value) is bool)
ON_ERROR_KIND = _choice(ANSWER_OF_A)
LAST_KIND = _choice(*NOBODYS)
TIMEOUT_KIND = _number(float, "a finite float above 0", 1e-3, 1e9)
CLASSES_KIND = _number(int, "an integer of 2 or more", 2, _MOST)
_MEANS = _array_of("1 or 3 numbers", _is_number, 1, 3)
_DEVIATIONS = _array_of(
    "1 or 3 numbers above 0", lambda value: _is_number(value) and value > 0, 1, 3
)
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
    "trained_on?": {"splits": _array_of("text", _is_line), "source": _LINE},
    "coefficients?": _PLAIN,
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
        "threshold_2?": LIMIT_KIND,
        "threshold_2_low?": _SHARE,
        "threshold_2_high?": _SHARE,
        "postcheck": FLAG_KIND,
        "final?": _choice(ENSEMBLE),
        "members?": _number(int, "an integer of 2", 2, MOST_MODELS - 1),
        "outputs?": _choice(ANSWERS),
        "on_error?": ON_ERROR_KIND,
        "timeout_ms?": TIMEOUT_KIND,
    },
    "models": [_MODEL, _MODEL],
    "nobody?": {
        "name": LAST_KIND,
        "loss?": _COST,
        "accuracy?": _SHARE,
        "price?": _COST,
        "kind?": _LINE,
    },
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
        "method?": _choice("given", "other-split", "halves", "cross-fit", "same-split", "hold-out"),
        "halves_seed?": _COUNT,
        "halves_stratified?": FLAG_KIND,
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
        "escalated_2?": _COUNT,
        **dict.fromkeys(("accuracy?", "accuracy_low?", "accuracy_high?"), _SHARE),
        **dict.fromkeys(("usage?", "usage_low?", "usage_high?"), _SHARE),
        **dict.fromkeys(("accuracy_1?", "accuracy_2?", "accuracy_3?"), _SHARE),
        **dict.fromkeys(("baseline_accuracy?",), _SHARE),
        **dict.fromkeys(("cost?", "cost_1?", "cost_2?", "cost_3?", "baseline_cost?"), _COST),
        **dict.fromkeys(("cost_low?", "cost_high?"), _FINITE),
        # Of costs of each request also a unit's own name.
        **dict.fromkeys(("cost_kind?", "cost_unit?"), _LINE),
        "cost_batch_size?": _SOME,
        **dict.fromkeys(("cost_device?", "cost_why?", "baseline?", "hash_reason?"), _LINE),
        **dict.fromkeys(("saved?", "saved_low?", "saved_high?"), _FINITE),
        **dict.fromkeys(
            ("accuracy_change?", "accuracy_change_low?", "accuracy_change_high?"), _CHANGE
        ),
        **dict.fromkeys(("hits?", "false_hits?", "memory_entries?", "memory_bytes?"), _COUNT),
        "hit_rate?": _SHARE,
        "hash_counted?": FLAG_KIND,
        "unanswered?": _COUNT,
        **dict.fromkeys(("abstained?", "abstained_low?", "abstained_high?"), _SHARE),
        **dict.fromkeys((f"answered_accuracy{end}?" for end in ("", "_low", "_high")), _SHARE),
        "expected_accuracy?": _SHARE,
        **dict.fromkeys(("loss?", "loss_low?", "loss_high?"), _FINITE),
        "loss_name?": _LINE,
    },
    "provenance?": {
        "made?": Kind("a time as 2026-01-31T12:00:00+00:00 (ISO 8601)", _is_time),
        "versions?": _table_of("text", _is_line),
        "scores?": _table_of("SHA-256s of 64 hex digits", _is_digest),
    },
}

# What is promised of a last stage that is no model.
_OF_NOBODY = (
    "unanswered",
    "abstained",
    "answered_accuracy",
    "loss",
    "expected_accuracy",
    "loss_name",
)
_INTERVALS = tuple(
    tuple(f"promise.{name}{end}" for end in ("_low", "", "_high"))
    for name in ("accuracy", "usage", "cost", "saved", "accuracy_change", *_OF_NOBODY[1:4])
)
# Keys that stand together or not at all: what is missing would be taken for something else.
_TOGETHER = (
    *_INTERVALS,
    tuple(
        f"promise.cost{end}" for end in ("", "_low", "_high", "_1", "_kind", "_unit", "_batch_size")
    ),
    ("promise.saved", "promise.baseline", "promise.baseline_cost", "promise.cost"),
    ("promise.hits", "promise.hit_rate", "promise.false_hits", "promise.memory_entries"),
    ("promise.unanswered", "promise.abstained", "promise.loss", "nobody.name"),
    ("nobody.price", "nobody.kind"),
)
# Keys whose values ascend.
_ASCENDING = (
    *_INTERVALS,
    ("rule.threshold_low", "rule.threshold", "rule.threshold_high"),
    ("rule.threshold_2_low", "rule.threshold_2", "rule.threshold_2_high"),
    ("promise.right", "promise.images"),
    ("promise.escalated_2", "promise.escalated", "promise.images"),
    ("promise.unanswered", "promise.escalated"),
    ("promise.false_hits", "promise.hits", "promise.images"),
    ("promise.memory_entries", "promise.images"),
    ("promise.memory_entries", "memory.size"),
)


class _Relations:
    """What the values of a policy, each of them as it must be, make of one another."""

    def __init__(self, policy: Policy) -> None:
        self.rule, self.models = policy["rule"], policy["models"]
        self.version, score = policy["schema_version"], policy["rule"]["score"]
        self.made, self.sign = made_of(score), (built_in(score) or confidence(score)).sign
        # By stage the rows of its models.
        rows = list(range(len(self.models)))
        together = self.rule.get("members", 1)
        self.stages = [rows[:together], *([row] for row in rows[together:])]
        self.promise, self.memory = policy["promise"], policy.get("memory")
        self.nobody = policy.get("nobody")
        self.stages += [] if self.nobody is None else [[]]
        self.scores = policy.get("provenance", {}).get("scores")
        # Where folds were decided by a λ each, accuracy and cost are means over repeats.
        self.whole = policy.get("fit", {}).get("method") != "cross-fit"
        self.by_request = OF_EACH_REQUEST in self.promise.get("cost_why", "")

    def implied(self) -> Iterator[tuple[str, Any]]:
        """Keys, and what the others make them, None where these do not say; keys that stand
        together are there."""
        for row, model in enumerate(self.models):
            # Of what this program ran: ENGINE-PRECISION-DEVICE.
            engine, *rest = model["runtime"].split("-")
            if engine in ("torch", "onnxruntime", "tensorrt") and len(rest) == 2:
                yield f"models[{row}].precision", rest[0]
        yield from self._counts()
        promise = self.promise
        if "cost" in promise:
            yield from self._costs()
        if self.nobody is not None:
            yield from self._left(self.nobody)
        if self.whole and {"accuracy", "baseline_accuracy"} <= promise.keys():
            yield "promise.accuracy_change", promise["accuracy"] - promise["baseline_accuracy"]

    def _counts(self) -> Iterator[tuple[str, Any]]:
        promise, threshold = self.promise, self.rule["threshold"]
        images, hits = promise["images"], promise.get("hits") if self.memory else 0
        if threshold == NEVER:
            yield "promise.escalated", 0
        elif threshold == ALWAYS and hits is not None:
            yield "promise.escalated", images - hits
        if "accuracy" in promise:
            yield "promise.right", round(promise["accuracy"] * images)
        if self.whole:
            yield from with_ends("promise.accuracy", share(promise["right"], images)).items()
        yield from with_ends("promise.usage", share(promise["escalated"], images)).items()
        for key in ("accuracy_1", "accuracy_2", "accuracy_3"):
            if key in promise:  # the nearest share of the images
                yield f"promise.{key}", round(promise[key] * images) / images
        if "hits" in promise:
            yield "promise.hit_rate", promise["hits"] / images
            if self.memory:
                kept = promise["memory_entries"] * (self.memory["key_bytes"] + 4)
                yield "promise.memory_bytes", kept

    def _left(self, nobody: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """What no model answers; where a loss has a name, its figure says more than counts do."""
        promise, images, left = self.promise, self.promise["images"], self.promise["unanswered"]
        beyond = promise["escalated"] if len(self.stages) == 2 else promise.get("escalated_2")
        yield "promise.unanswered", beyond
        yield from with_ends("promise.abstained", share(left, images)).items()
        if not self.whole:
            return
        right, person = promise["right"], nobody["name"] == HUMAN
        accuracy = nobody.get("accuracy") if person else None
        if left < images:
            answered = share(right, images - left)
            yield from with_ends("promise.answered_accuracy", answered).items()
        each = None if person else nobody.get("loss")
        if accuracy is not None:
            yield "promise.expected_accuracy", (right + left * accuracy) / images
            each = 1 - accuracy
        if each is not None and "loss_name" not in promise:
            yield "promise.loss", (images - left - right + left * each) / images

    def _costs(self) -> Iterator[tuple[str, Any]]:
        promise, kind = self.promise, self.promise["cost_kind"]
        # In larger batches B's images cost what their batches do, and hashing is not told apart.
        apart = "hits" not in promise and promise["cost_batch_size"] == 1
        if self.whole and not self.by_request and (kind == "macs" or apart):
            reach = [
                1 - promise.get("hits", 0) / promise["images"],
                *(promise.get(key, 0) / promise["images"] for key in ("escalated", "escalated_2")),
            ]
            each = [promise.get(f"cost_{i}", 0.0) for i in range(1, len(self.stages) + 1)]
            yield "promise.cost", sum(a * b for a, b in zip(reach, each, strict=False))
        if self.nobody is not None:
            yield f"promise.cost_{len(self.stages)}", self.nobody.get("price", 0.0)
            yield "nobody.kind", kind
        if kind == "macs" and not self.by_request:
            for i, rows in enumerate(filter(None, self.stages), 1):
                macs = [self.models[row].get("macs") for row in rows]
                yield f"promise.cost_{i}", None if None in macs else sum(macs)
        yield "promise.cost_unit", UNITS.get(kind, kind)
        alone = enumerate(self.stages, 1)
        single = {self.models[each[0]]["name"]: i for i, each in alone if len(each) == 1}
        if promise["baseline"] in single:
            row = single[promise["baseline"]]
            yield "promise.baseline_cost", promise[f"cost_{row}"]
            yield "promise.baseline_accuracy", promise.get(f"accuracy_{row}")
        if promise["baseline_cost"]:
            yield "promise.saved", 1 - promise["cost"] / promise["baseline_cost"]

    def unmet(self) -> Iterator[str]:
        """What else must hold and does not, in words."""
        if "timeout_ms" in self.rule and "on_error" not in self.rule:
            yield "rule.timeout_ms only beside rule.on_error"
        yield from self._unmet_by_nobody()
        yield from self._unmet_by_rule()
        third = [key for key in ("escalated_2", "accuracy_3", "cost_3") if key in self.promise]
        if len(self.stages) < MOST_MODELS and third:
            yield f"no promise.{third[0]} without a third stage"
        elif len(self.stages) == MOST_MODELS and "escalated_2" not in self.promise:
            yield "promise.escalated_2 of three stages"
        for i in range(2, len(self.stages) + 1):
            if "cost" in self.promise and f"cost_{i}" not in self.promise:
                yield f"promise.cost_{i} beside promise.cost"
        names = {model["name"] for model in self.models}
        if len(names) < len(self.models):
            yield "two models of different names"
        if self.scores and not names <= self.scores.keys():
            yield "the scores of all models among provenance.scores"
        for shape in (each["preprocessing"] for each in self.models if "preprocessing" in each):
            if len(shape["mean"]) != len(shape["std"]):
                yield "as many numbers of preprocessing.std as of mean"
        # Beyond always and never no score is, so there λ has no end.
        for key in ("threshold", "threshold_2"):
            limit = self.rule.get(key)
            end = f"{key}_low" if (limit == NEVER) == (self.sign > 0) else f"{key}_high"
            if limit in (ALWAYS, NEVER) and end in self.rule:
                yield f'rule.{key} "{ALWAYS}" and "{NEVER}" without the end that no score is beyond'
        if self.memory is None and self.whole:
            yield from self._too_far()
        nowhere = self.by_request or self.promise.get("cost_kind") in (None, "macs")
        if nowhere == ("cost_device" in self.promise):
            yield "a promise.cost_device for joules and latency, and none for multiply-adds"
        if "hits" in self.promise and self.memory is None:
            yield "hits only of a policy with a memory"

    def _unmet_by_rule(self) -> Iterator[str]:
        """What a rule of this version, of so many models, must hold and does not."""
        rule, count = self.rule, len(self.models)
        for key in ("on_error", "threshold_2", "final", "members", "outputs"):
            if key in rule and self.version < 3:
                yield f"rule.{key} only in schema_version 3"
        if len(self.stages) == 1 and rule["threshold"] != NEVER:
            yield f'rule.threshold "{NEVER}" of one model'
        voting = (rule["score"] == VOTE_SHARE.name, "members" in rule)
        if any(voting) and (not all(voting) or count != rule["members"] + 1 or rule["postcheck"]):
            yield f"rule.members, and one model more, of {VOTE_SHARE.name} without a post-check"
        elif all(voting) and _FINITE.holds(rule["threshold"]) and not 0.5 < rule["threshold"] <= 1:
            yield "rule.threshold above the vote share of two that differ, 0.5, and at most 1"
        together = all(voting) or "final" in rule
        known = {model["classes"] for model in self.models if "classes" in model}
        if together and len(known) > 1:
            yield "models of the same classes where they answer together"
        if (len(self.stages) == MOST_MODELS) != ("threshold_2" in rule):
            each = "models, one after the other" if self.nobody is None else "stages"
            yield f"rule.threshold_2 of three {each}, and of no others"
        if "final" in rule and (count != 2 or rule["postcheck"] or "outputs" in rule):
            yield "rule.final of two models that give logits, without a post-check"
        if "on_error" in rule and (count != 2 or "final" in rule):
            yield "rule.on_error of two models, one of which answers"
        yield from self._unmet_by_score()

    def _unmet_by_nobody(self) -> Iterator[str]:
        """What a last stage that is no model cannot be part of, and what it must say."""
        nobody, promise = self.nobody, self.promise
        if nobody is None:
            there = [key for key in _OF_NOBODY if key in promise]
            if there:
                yield f"no promise.{there[0]} without the table nobody"
            return
        if self.version < 3:
            yield "the table nobody only in schema_version 3"
        if len(self.stages) > MOST_MODELS:
            yield "two models at most beside the table nobody"
        beside = [key for key in ("members", "final", "on_error") if key in self.rule]
        if beside:
            yield f"no rule.{beside[0]} beside the table nobody"
        if self.rule["postcheck"] and len(self.models) == 1:
            yield "rule.postcheck false of one model"
        wanted = {ABSTAIN: "loss", HUMAN: "accuracy"}[nobody["name"]]
        if wanted not in nobody:
            yield f"nobody.{wanted} of {nobody['name']}"
        others = {ABSTAIN: ("accuracy", "price"), HUMAN: ("loss",)}[nobody["name"]]
        if told := [key for key in others if key in nobody]:
            yield f"no nobody.{told[0]} of {nobody['name']}"
        own = f"accuracy_{len(self.stages)}"
        if own in promise:
            yield f"no promise.{own}, as {nobody['name']} is no model"
        if ("expected_accuracy" in promise) != ("accuracy" in nobody):
            yield f"promise.expected_accuracy of {HUMAN}, and of no other"

    def _unmet_by_score(self) -> Iterator[str]:
        """What a fitted score takes, and is not given."""
        rule, (how, base) = self.rule, self.made or (None, "")
        bases = BASES[how] if how else None
        usual = bases or (() if "outputs" in rule else LABEL_FREE)
        if how and base not in usual and (bases or "outputs" not in rule or base == "oracle"):
            yield f"rule.score {how}({' or '.join(usual)})"
        if how in ("temperature", "learned", "logits") and "outputs" in rule:
            yield f"logits for {rule['score']}, without rule.outputs"
        fitted = self.models[:1] if how == "learned" else self.models if self.made else []
        for row, model in enumerate(self.models):
            given = (rule["score"], model.get("coefficients"), model.get("classes"))
            wanted = unfit(*given) if model in fitted else None
            if wanted is not None:
                yield f"models[{row}].coefficients to be {wanted}"
            if "coefficients" in model and model not in fitted:
                yield f"no models[{row}].coefficients where λ is of {rule['score']}"

    def _too_far(self) -> Iterator[str]:
        """Of A's answers only those of images that go on are others, of B's, without post-check,
        only those of the rest."""
        promise, images, sent = self.promise, self.promise["images"], self.promise["escalated"]
        as_b = len(self.stages) == 2 and not self.rule["postcheck"] and "final" not in self.rule
        as_b = as_b and self.nobody is None
        rest = images - sent if as_b else images
        for key, changed, which in (
            ("accuracy_1", sent, "the escalated images"),
            ("accuracy_2", rest, "the images that are not escalated"),
        ):
            if key in promise and abs(promise["right"] - round(promise[key] * images)) > changed:
                yield f"promise.right no further from {key} than {which} make it"


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


def memory_of(policy: Policy) -> MemoryPolicy | None:
    """The memory in front of the models."""
    kept = policy.get("memory")
    if kept is None:
        return None
    return MemoryPolicy(kept["hash"], kept.get("size"), kept["radius"], kept.get("trust"))


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
    yield from _misfits(_format(policy), policy, "")
    flat = dict(dotted(policy, ""))
    for key, expected in _contradicted(flat):
        found = shown_value(flat[key]) if key in flat else "missing"
        yield f"{key} is {found}, expected {expected}"
    relations = _Relations(policy)
    kind = relations.promise.get("cost_kind")
    if kind is not None and not relations.by_request:
        yield from _misfits(_choice(*UNITS), kind, "promise.cost_kind")
    for key, value in relations.implied():
        if None not in (value, flat.get(key)) and not _same(flat[key], value):
            found, expected = shown_value(flat[key]), shown_value(value)
            yield f"{key} is {found}, expected {expected} by what else it says"
    for words in relations.unmet():
        yield f"expected {words}"


def _format(policy: Mapping[str, Any]) -> Mapping[str, Any]:
    """FORMAT, with what version 3 may hold beside a pair by one of the rule's own scores."""
    rule, models = policy.get("rule"), policy.get("models")
    if policy.get("schema_version") != 3 or type(rule) is not dict:
        return FORMAT
    score, kinds = str(rule.get("score")), dict(FORMAT["rule"])
    other = _is_line(rule.get("score")) and score not in SCORES
    if other and (built_in(score) is not None or rule.get("outputs") == ANSWERS):
        kinds["score"] = _LINE
        if allows(score, 2):
            kinds |= dict.fromkeys(("threshold", "threshold_2?"), NUMBER_KIND)
            ends = (f"threshold{of}_{end}?" for of in ("", "_2") for end in ("low", "high"))
            kinds |= dict.fromkeys(ends, _FINITE)
    count = len(models) if isinstance(models, list) else 0
    count = count if 1 <= count <= MOST_MODELS else 2
    return FORMAT | {"rule": kinds, "models": [_MODEL] * count}


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


def _contradicted(flat: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that are missing or out of order, and what is expected of them."""
    # Against what is free nothing can be saved.
    unsaid = {"promise.saved"} if flat.get("promise.baseline_cost") == 0 else set()
    for group in _TOGETHER:
        there = [key for key in group if key in flat]
        yield from (
            (key, f"it beside {there[0]}")
            for key in group
            if there and key not in flat.keys() | unsaid
        )
    for keys in _ASCENDING:
        known = [key for key in keys if type(flat.get(key)) in (int, float)]
        for low, high in pairwise(known):
            if flat[low] > flat[high]:
                yield low, f"at most {high}, {shown_value(flat[high])}"


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, str):
        return bool(found == expected)
    return isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)
