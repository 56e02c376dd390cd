"""docs/results-unequal-costs.md: unequal_costs.md with the numbers and tables of its results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

from examples.study.page import FORMATS, mean, table, told as spread
from examples.study.unequal_costs import (
    BUDGET,
    DEAR,
    DEAR_CLASS,
    EMOTIONS,
    HALVINGS,
    LEAST,
    MATCHED,
    MISSED,
    SEED,
    WITHIN,
    Answered,
    Compared,
    Results,
    Told,
    weights,
)
from stages.statistics import Interval

TEMPLATE = Path(__file__).with_name("unequal_costs.md")
_FIELD = re.compile(r"\{\{(\w+)\}\}")
TITLES = {
    MATCHED: "the cheapest that matches the best single service",
    WITHIN: f"the best for ${1000 * BUDGET:.2f} per 1,000 faces",
    LEAST: "the best of all",
}


def render(results: Results) -> str:
    """The page."""
    found = {**_case(results), **_least(results), **_tables(results)}
    return _FIELD.sub(lambda match: found[match[1]], TEMPLATE.read_text("utf-8"))


def _case(results: Results) -> dict[str, str]:
    """What was asked, of which faces."""
    counts, matched = results.counts, results.chosen[MATCHED]
    return {
        "dear": str(DEAR),
        "missed": MISSED,
        "file": weights(MISSED).strip(),
        "faces": f"{sum(counts.values()):,}",
        "fitted": f"{results.fitted:,}",
        "sad": f"{counts[MISSED]:,}",
        "afraid": f"{counts['fear']:,}",
        "last": str(len(EMOTIONS) - 1),
        "seed": str(SEED),
        "budget": f"{BUDGET:g}",
        "halvings": str(HALVINGS),
        "never": never(results),
        "accurate": matched.accuracy.against,
        "cautious": matched.loss.against,
    }


def _least(results: Results) -> dict[str, str]:
    """The cascades of least loss, and what makes the loss."""
    least, (after, against) = results.chosen[LEAST], results.next
    sad = least.emotions[DEAR_CLASS]
    missed = sad.faces * (1 - sad.before.value) * DEAR
    reported = sum(each.faces for each in least.emotions)
    return {
        "chosen": name_of(least.loss.told),
        "next": _short(after),
        "next_loss": told(against.loss, "loss"),
        "next_word": word(against.loss),
        "next_right": _pair(least.loss.told.accuracy, after.accuracy),
        "half": mean([results.chosen[WITHIN].loss.told.loss.half], "loss"),
        "sad_reported": f"{sad.faces:,}",
        "carried": mean([missed / (least.accuracy.told.loss.value * reported)], "percent"),
    }


def _tables(results: Results) -> dict[str, str]:
    counts, chosen = results.counts, results.chosen
    lines = {
        "answer": [bullet(results, name) for name in (WITHIN, LEAST, MATCHED)],
        "classes": [f"| {k} | {name} | {counts[name]:,} |" for k, name in enumerate(EMOTIONS)],
        "alone": alone(results),
        "questions": questions(results),
        "changes": changes(results),
        "emotions": [*emotions(WITHIN, chosen), "", *emotions(LEAST, chosen)],
        "repeated": repeated(results),
    }
    return {name: "\n".join(each) for name, each in lines.items()}


def told(found: Interval, how: str) -> str:
    value, low, high = (mean([x], how) for x in (found.value, found.low, found.high))
    unit = FORMATS[how][2]
    return f"{value} ({low.removesuffix(unit)} to {high.removesuffix(unit)})"


def word(more: Interval) -> str:
    """Whether it is surely more, by its interval."""
    return "surely more" if more.low > 0 else "surely less" if more.high < 0 else "cannot tell"


def name_of(each: Told) -> str:
    return " → ".join(each.cascade.models) + (" alone" if len(each.cascade.models) == 1 else "")


def limits(each: Told) -> str:
    return (
        ", ".join(f"{stage.limit.value:.4g}" for stage in each.cascade.stages if stage.limit) or "–"
    )


def bullet(results: Results, name: str) -> str:
    title, chosen = TITLES[name], results.chosen[name]
    before, after = (each.told for each in (chosen.accuracy, chosen.loss))
    sad = chosen.emotions[DEAR_CLASS]
    lines = [
        f"- **{title.capitalize()}**: by accuracy {_short(before)}; by loss {_short(after)}.",
        f"The choice by accuracy loses {_more(chosen.more.loss)}.",
        f"It is right on {_pair(before.accuracy, after.accuracy)} of all faces,",
        f"and on {_pair(sad.before, sad.after)} of the sad ones.",
    ]
    if chosen.accuracy.tested or chosen.loss.tested:
        lines.append(
            "These faces had a part in that choice (†): take it for less sure than it looks."
        )
    if found := results.repeated.get((name, MISSED)):
        words = [word(each) for each in found]
        lines.append(
            f"On {HALVINGS} halvings it loses {spread([x.value for x in found], 'loss')} more, "
            f"surely more on {words.count('surely more')} of them, surely less on "
            f"{words.count('surely less')}."
        )
    return fill(" ".join(lines), 116, subsequent_indent="  ", break_on_hyphens=False)


def _short(each: Told) -> str:
    at = f" at λ = {limits(each)}" if len(each.cascade.models) > 1 else ""
    return f"{name_of(each)}{at}, ${mean([each.usd.value], 'mills')} per 1,000"


def _more(found: Interval) -> str:
    less = found.value < 0
    sure = "cannot tell" if word(found) == "cannot tell" else "surely"
    size = told(found.negative if less else found, "loss")
    return f"{size} {'less' if less else 'more'} a face: **{sure}**"


def _pair(before: Interval, after: Interval) -> str:
    return " against ".join(mean([each.value], "percent1") for each in (before, after))


def alone(results: Results) -> list[str]:
    rows = [
        [
            each.told.cascade.models[0],
            mean([each.told.usd.value], "mills"),
            told(each.told.accuracy, "percent1"),
            told(each.recall, "percent1"),
            mean([each.says], "percent1"),
            told(each.told.loss, "loss"),
        ]
        for each in results.alone
    ]
    heads = ("service", "$ per 1,000", "accuracy", f"recall of {MISSED}", "called sad", "loss")
    return table(heads, rows)


def never(results: Results) -> str:
    """The services that do not know all emotions."""
    lacking = {each.told.cascade.models[0]: each.never for each in results.alone}
    told_so = (f"{name} never says {' or '.join(each)}" for name, each in lacking.items() if each)
    return "; ".join(told_so) or "all say every emotion"


def questions(results: Results) -> list[str]:
    rows = [
        [title if by == "accuracy" else "", by, *_row(answer)]
        for name, title in TITLES.items()
        for by, answer in (
            ("accuracy", results.chosen[name].accuracy),
            ("loss", results.chosen[name].loss),
        )
    ]
    heads = ("question", "chosen by", "cascade", "λ", "B answers", "dearer sees", "$ per 1,000")
    return table((*heads, "accuracy", "loss"), rows)


def _row(answer: Answered) -> list[str]:
    each = answer.told
    pair = len(each.cascade.models) > 1
    return [
        name_of(each) + (" †" if answer.tested else ""),
        limits(each),
        told(each.usage, "percent1") if pair else "–",
        "as B" if each.dearer.value < 1 else "all",
        told(each.usd, "mills"),
        told(each.accuracy, "percent1"),
        told(each.loss, "loss"),
    ]


def changes(results: Results) -> list[str]:
    rows = [
        [
            title,
            told(more.loss, "loss"),
            word(more.loss),
            told(more.accuracy, "points"),
            word(more.accuracy),
            f"{1000 * more.usd:+.3f}".replace("-", "−"),
        ]
        for name, title in TITLES.items()
        for more in [results.chosen[name].more]
    ]
    heads = ("the choice by accuracy against that by loss", "loses more a face", "verdict")
    return table((*heads, "more accurate, points", "verdict", "$ more per 1,000"), rows)


def emotions(name: str, compared: Mapping[str, Compared]) -> list[str]:
    title, chosen = TITLES[name], compared[name]
    rows = [
        [
            each.emotion,
            f"{each.faces:,}",
            told(each.before, "percent"),
            told(each.after, "percent"),
            told(each.more, "points"),
            " → ".join(mean([x], "percent") for x in each.called),
            f"{each.less:+,}".replace("-", "−"),
        ]
        for each in chosen.emotions
    ]
    heads = ("emotion", "faces", "recall, by accuracy", "by loss", "points more", "called sad")
    pair = f"{name_of(chosen.accuracy.told)} by accuracy, {name_of(chosen.loss.told)} by loss"
    return [f"**{title.capitalize()}**: {pair}.", "", *table((*heads, "less lost"), rows)]


def repeated(results: Results) -> list[str]:
    rows = []
    for emotion in EMOTIONS:
        cells = [f"**{emotion}**" if emotion == MISSED else emotion, f"{results.counts[emotion]:,}"]
        for name in (WITHIN, LEAST):
            found = results.repeated[name, emotion]
            words = [word(each) for each in found]
            cells += [
                spread([each.value for each in found], "loss"),
                f"{words.count('surely more')} and {words.count('surely less')}",
            ]
        rows.append(cells)
    heads = ("dear emotion", "faces", TITLES[WITHIN], "surely more, less")
    return table((*heads, TITLES[LEAST], "surely more, less"), rows)
