"""docs/results-imagenet.md from the results alone: page.md with its numbers and tables put in.

`{{imagenet beats/any/share percent}}` is a number: whose, which, and how it is told; a table is
`{{imagenet table beats}}`. `_range` adds the least and the most of the halvings; where `*` stands
for several, `_lowest` and `_highest` are those of their means.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from examples.study.answers import BUDGETS, SIZES

Results = dict[str, Any]

TEMPLATE = Path(__file__).with_name("page.md")
_FIELD = re.compile(r"\{\{(\w+) (\S+) (\w+)\}\}")
# How a number is told: what it is multiplied by, its format, and the unit.
FORMATS = {
    "percent": (100, ".0f", " %"),
    "percent1": (100, ".1f", " %"),
    "points": (100, "+.2f", ""),
    "size": (100, ".2f", ""),
    "more": (-100, ".0f", " %"),
    "short": (-100, ".2f", ""),
    "rho": (1, "+.2f", ""),
    "number": (1, ",.0f", ""),
    "giga": (1e-9, ".2f", ""),
    "loss": (1, ".3f", ""),
    "mills": (1000, ".4g", ""),
}
RULES = {
    "maxp": "maxp",
    "maxp-p": "maxp, post-check",
    "difference": "difference",
    "difference-p": "difference, post-check",
    "any": "of the four, that which the fitting half prefers",
}
GAPS = {"1": "at most 1", "3": "1 to 3", "6": "3 to 6", "100": "more than 6"}
GROUPS = {"close": "within 3 points", "apart": "farther apart"}
CHOICES = {"sweep": "*sweep of all pairs*", "random": "*a pair at random*"}
KINDS = {
    "architecture": "one architecture, in Keras and in PyTorch",
    "family": "one family",
    "different": "two families",
}


def render(results: Results) -> str:
    """The page."""
    text = TEMPLATE.read_text("utf-8")
    return _FIELD.sub(lambda match: _field(results[match[1]], match[2], match[3]), text)


def _field(result: Results, key: str, how: str) -> str:
    if key == "table":
        return "\n".join(TABLES[how](result))
    found = result["halvings"]
    if key in result:
        return mean([result[key]], how)
    if how == "most":
        return most(found[key])
    if how.endswith("_range"):
        return told(found[key], how.removesuffix("_range"))
    means = [sum(found[each]) / len(found[each]) for each in fnmatch.filter(found, key)]
    how, _, end = how.partition("_")
    chosen = {"": means, "lowest": [min(means)], "highest": [max(means)]}[end]
    return mean(chosen, how)


def mean(values: Sequence[float], how: str) -> str:
    scale, form, unit = FORMATS[how]
    return f"{scale * fmean(values):{form}}{unit}".replace("-", "−")


def told(values: Sequence[float], how: str) -> str:
    """The mean over the halvings, with the least and the most of them."""
    scale, _, unit = FORMATS[how]
    ends = sorted((min(values), max(values)), reverse=scale < 0)
    low, high = (mean([each], how) for each in ends)
    return f"{mean(values, how)} ({low.removesuffix(unit)} to {high.removesuffix(unit)})"


def most(values: Sequence[str]) -> str:
    """The commonest, and how many halvings say so."""
    [(value, count)] = Counter(values).most_common(1)
    return value if count == len(values) else f"{value} ({count} of {len(values)})"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _beats(result: Results) -> list[str]:
    found = result["halvings"]
    rows = [[name, told(found[f"beats/{key}/share"], "percent"),
             told(found[f"beats/{key}/mean"], "points"), told(found[f"beats/{key}/max"], "points")]
            for key, name in RULES.items()]  # fmt: skip
    return table(("rule", "pairs that gain", "mean gain, points", "largest"), rows)


def _gaps(result: Results) -> list[str]:
    return _groups(result, "the two differ by, points", "beats/gap", GAPS)


def _families(result: Results) -> list[str]:
    return _groups(result, "close pairs of", "families/", KINDS)


def _groups(result: Results, head: str, prefix: str, groups: dict[str, str]) -> list[str]:
    found = result["halvings"]
    shown = {"n": "number", "share": "percent", "mean": "points", "max": "points"}
    rows = [[name, *(told(found[f"{prefix}{key}/{what}"], how) for what, how in shown.items())]
            for key, name in groups.items() if f"{prefix}{key}/n" in found]  # fmt: skip
    return table((head, "pairs", "that gain", "mean gain, points", "largest"), rows)


def _saves(result: Results) -> list[str]:
    found = result["halvings"]
    rows = []
    for key in [key for key in found if re.fullmatch("saves/.*/cascade", key)]:
        name = key.split("/")[1]
        values = {what: found[f"saves/{name}/{what}"] for what in
                  ("usage", "saved", "change", "low", "high")}  # fmt: skip
        rows.append([
            name, most(found[key]), told(values["usage"], "percent"),
            told(values["saved"], "percent"), told(values["change"], "points"),
            f"{mean(values['low'], 'points')} to {mean(values['high'], 'points')}",
        ])  # fmt: skip
    heads = ("as accurate as", "cascade, most often", "use of B", "saved", "accuracy, points",
             "95 % interval of one halving")  # fmt: skip
    return table(heads, rows)


def _frontier(result: Results) -> list[str]:
    found = result["halvings"]
    rows = []
    for u in range(0, len(BUDGETS), 4):
        if f"frontier/{u}/single" in found:
            single, both = (found[f"frontier/{u}/{kind}"] for kind in ("single", "cascade"))
            more = [b - a for a, b in zip(single, both, strict=True)]
            rows.append([mean([BUDGETS[u]], "giga"), mean(single, "percent1"),
                         mean(both, "percent1"), told(more, "points")])  # fmt: skip
    return table(("budget, G multiply-adds", "best model", "best cascade", "more, points"), rows)


def _postcheck(result: Results) -> list[str]:
    found = result["halvings"]
    rows = []
    for name in (key.removesuffix("/mean") for key in found
                 if key.startswith("postcheck/") and key.endswith("/mean")):  # fmt: skip
        _, score, order, group = name.split("/")
        rows.append([score, f"{order}, {GROUPS[group]}",
                     told(found[f"{name}/mean"], "points"),
                     told(found[f"{name}/share"], "percent"),
                     mean(found[f"{name}/without"], "percent"),
                     mean(found[f"{name}/with"], "percent")])  # fmt: skip
    heads = ("rule", "the better model runs", "post-check adds, points", "pairs it helps",
             "gain without", "gain with")  # fmt: skip
    return table(heads, rows)


def _measures(result: Results) -> list[str]:
    found = result["halvings"]
    names = [key.split("/")[1] for key in found if re.fullmatch("measures/.*/all/rho", key)]
    names.sort(key=lambda name: -abs(sum(found[f"measures/{name}/close/rho"])))
    apart = found["measures/pairs/all"] != found["measures/pairs/close"]
    groups = ("all", "close") if apart else ("all",)
    rows = []
    for name in [*names, *CHOICES]:
        ranks = (found.get(f"measures/{name}/{group}/rho") for group in groups)
        picked = (told(found[f"measures/{name}/{group}/picked"], "points") for group in groups)
        rows.append([CHOICES.get(name, name),
                     *("" if each is None else told(each, "rho") for each in ranks),
                     *picked])  # fmt: skip
    heads = [f"{what} {group} pairs" for what in ("ρ,", "picks of") for group in groups]
    return table(("measure", *heads), rows)


def _by_rule(result: Results) -> list[str]:
    found = result["halvings"]
    keys = [(name, group) for name in ("complementarity", "heterogeneity")
            for group in ("all", "close")]  # fmt: skip
    rows = [[words, *(told(found[f"by_rule/{rule}/{name}/{group}"], "rho") for name, group in keys)]
            for rule, words in RULES.items() if rule != "any"]  # fmt: skip
    return table(("rule", *(f"{name}, {group} pairs" for name, group in keys)), rows)


def _images(result: Results) -> list[str]:
    found = result["halvings"]
    rows = []
    for n in (each for each in SIZES if f"images/{each}/lost" in found):
        values = {what: found[f"images/{n}/{what}"] for what in
                  ("lost", "cascade", "single", "promised")}  # fmt: skip
        more, flattered = (
            [a - b for a, b in zip(values[one], values[other], strict=True)]
            for one, other in (("cascade", "single"), ("promised", "cascade"))
        )
        rows.append([f"{n:,}", mean(values["lost"], "size"), mean(values["cascade"], "percent1"),
                     told(more, "points"), told(flattered, "points")])  # fmt: skip
    heads = ("images", "λ alone loses", "the chosen cascade is right",
             "more than the chosen model, points", "it promised more by")  # fmt: skip
    return table(heads, rows)


def _pairs(result: Results) -> list[str]:
    names = [each["model"] for each in result["models"]]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    best = sorted(zip(result["pairs"], pairs, strict=True), reverse=True)[:10]
    rows = [[f"{a}, {b}", mean([gain], "points"), mean([apart], "percent1"),
             mean([differ], "percent1"), mean([gap], "percent1")]
            for (gain, apart, differ, gap), (a, b) in best]  # fmt: skip
    heads = ("pair", "gain, points", "complementarity", "heterogeneity", "difference of accuracy")
    return table(heads, rows)


def _models(result: Results) -> list[str]:
    models = sorted(result["models"], key=lambda each: -each["accuracy"])
    rows = [[each["model"], mean([each["accuracy"]], "percent1"),
             mean([each["macs"]], "giga") if each["macs"] else "–", each["source"] or "–"]
            for each in models]  # fmt: skip
    return table(("model", "top-1", "G multiply-adds", "from"), rows)


TABLES = {
    each.__name__.removeprefix("_"): each
    for each in (
        *(_beats, _gaps, _families, _saves, _frontier, _postcheck),
        *(_measures, _by_rule, _images, _pairs, _models),
    )
}
