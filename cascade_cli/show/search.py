"""What `search` prints: the verdict, the answer beside what it is held against, other choices; of
several devices the best on each, and what a wrong choice costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cascade_cli.show.costs import cost_cell, cost_interval, cost_note, tail_text
from cascade_cli.show.text import print_table, print_text, shortened
from stages.costs import amount, figure, interval, relative, told_in
from stages.scores import model_in
from stages.search import ALL_DEVICES, DeviceChoice, Optimism, SearchResult, SearchRow

SHOWN = 12


NAMES = {"single": "alone", "random": "at random", "oracle": "oracle"}


MODELS = {"model_1": "A", "model_2": "B"}
_THIRD = ("model_3", "threshold_2")
# What no model answers, and how many of the others are right.
NOBODYS = {"abstained": "no model:.1%", "answered_accuracy": "others right:.1%"}
CHAIN = {"kind": ""} | MODELS | {"model_3": "C"}


COMPARED = CHAIN | {"loss": "loss:.4g"} | NOBODYS
COMPARED |= {"accuracy": "accuracy:.1%", "usage": "use of B:.1%", "cost": "cost"}


OTHERS = CHAIN | {
    "rule": "rule",
    "threshold": "λ:.4g",
    "threshold_2": "λ of B:.4g",
    "loss": "loss:.4g",
    **NOBODYS,
    "accuracy": "accuracy:.1%",
    "cost": "cost",
    "saved": "saved",
}


def show_search(found: SearchResult, files: Sequence[str] = ()) -> None:
    """The sentences, one more about the most accurate, the answer beside what it is held against,
    the hull, and the files of a policy that was written; of MODEL@RUNTIME what tells it."""
    runtimes = [runtime for _, runtime in map(model_in, found.models) if runtime]
    named = shorter(list(dict.fromkeys(runtimes)))
    with shortened({f"@{runtime}": f"@{short}" for runtime, short in named.items()}):
        _show(found, files)
    if named:
        told = ", ".join(f"@{short} is {runtime}" for runtime, short in named.items())
        print(f"{told}: a model's name ends so elsewhere")


def shorter(runtimes: Sequence[str]) -> dict[str, str]:
    """Runtime → its precision where that tells it from the others, else engine and precision, else
    itself.

    >>> shorter(["onnxruntime-int8-cpu", "torch-fp32-cpu"])
    {'onnxruntime-int8-cpu': 'int8', 'torch-fp32-cpu': 'fp32'}
    """
    parts = {runtime: runtime.split("-") for runtime in runtimes}
    for shown in (slice(1, 2), slice(0, 2)):
        names = {runtime: "-".join(each[shown]) for runtime, each in parts.items()}
        if len(set(names.values())) == len(names):
            return names
    return {runtime: runtime for runtime in runtimes}


def _show(found: SearchResult, files: Sequence[str]) -> None:
    first, *more = found.sentences
    print_text(first)
    if more:
        print_text(" ".join(more))
    if found.answer is not None:
        print_text(most_accurate(found.most_accurate, found.answer))
        _show_answer(found.answer, found.baselines)
    _show_optimism(found.optimism)
    if found.top is None:
        _show_hull(found)
    else:
        _show_top(found, found.top)
    print()
    print_text(f"asked for: {found.asked}")
    print(
        f"searched on {found.fit_split} ({found.fit_n} images, {found.fit_method}), "
        f"reported on {found.split} ({found.n} images)"
    )
    note = cost_note(found.baselines[0].price)
    print_text(f"{note}. In brackets are 95% intervals, each of one figure by itself.")
    for path in files:
        print(path)


def most_accurate(row: SearchRow, answer: SearchRow) -> str:
    """The most accurate, or of least loss, on the fitting images, and its price."""
    lossy = row.loss is not None
    if len(row.models) == 1:
        looks = "looks to lose less" if lossy else "looks more accurate"
        return f"No cascade {looks} than {row.model_1} alone."
    best = "cascade of least loss" if lossy else "most accurate cascade"
    if row.rule == answer.rule:
        return f"It is the {best}, too."
    cost = amount(row.price.known.value, str(row.price.cost_unit))
    figure = f"{row.accuracy.value:.1%}" if row.loss is None else f"{row.loss.value:.4g}"
    return f"The {best}: {' → '.join(row.models)}, {figure} at {cost}."


def _show_answer(row: SearchRow, baselines: Sequence[SearchRow]) -> None:
    print()
    if row.model_2 is not None:
        second = row.threshold_2 if row.mode_2 == "threshold" else row.mode_2
        limits = [row.threshold.threshold, *([second] if row.model_3 else [])]
        numbers = ", ".join(f"{x:.4g}" if isinstance(x, float) else str(x) for x in limits)
        check = " with post-check" if row.postcheck else ""
        print(f"  {'rule':<12} {row.score}{check}, λ = {numbers}")
    if row.abstained is not None:
        told = row.abstained
        print(f"  {'no model':<12} {told.value:.1%} ({told.low:.1%} to {told.high:.1%})")
    if row.loss is not None:
        told = row.loss
        print(f"  {'loss':<12} {interval(told.value, told.low, told.high, 'loss')}")
    right = ("accuracy", row.accuracy)
    if row.answered_accuracy is not None:
        right = ("others right", row.answered_accuracy)
    if row.expected_accuracy is not None:
        print(f"  {'accuracy':<12} {row.expected_accuracy:.1%} expected, with the person's answers")
    for title, share in (right, ("use of B", row.usage)):
        print(f"  {title:<12} {share.value:.1%} ({share.low:.1%} to {share.high:.1%})")
    print(f"  {'cost':<12} {cost_interval(row.price)}")
    if row.tail.over_budget is not None:
        print(f"  {'over budget':<12} {tail_text(row.tail, row.price, '.1%')}")
    print()
    rows = [row, *baselines]
    print_table([_plain(each) for each in rows], _used(COMPARED, rows))


def _show_optimism(found: Optimism | None) -> None:
    if found is None:
        return
    told, flatters = "", f"{100 * found.optimism:.2f} points"
    if found.accuracy is not None:
        ends = f"{found.accuracy.low:.2%} to {found.accuracy.high:.2%}"
        told = f"{found.accuracy.value:.2%} ({ends})"
    if found.loss is not None:
        told = f"loss {found.loss.value:.4g} ({found.loss.low:.4g} to {found.loss.high:.4g})"
        flatters = f"{found.optimism:.4g}"
    print()
    print_text(
        f"Searched again in {found.resamples} resamples of {found.split}: {told} on the images "
        f"left out; choosing flatters by {flatters}; the same models in {found.same_models:.0%}."
    )


def _show_hull(found: SearchResult) -> None:
    hull = found.hull
    shown = [hull[round(i * (len(hull) - 1) / (SHOWN - 1))] for i in range(SHOWN)]
    rows = hull if len(hull) <= SHOWN else shown
    other = "its other half" if found.fit_method == "halves" else found.split
    where = f"chosen on {found.fit_split}, told of {other}"
    print(f"\n{extent(len(rows), len(hull), where)}:")
    against = rows[0].against.baseline
    if found.answer is not None:
        rows = [row for row in rows if row.rule != found.answer.rule] + [found.answer]
    rows = sorted(rows, key=lambda row: row.fit_cost or 0.0)
    print_table([_other(row) for row in rows], _used(OTHERS | {"saved": f"than {against}"}, rows))


def _show_top(found: SearchResult, rows: Sequence[SearchRow]) -> None:
    """Instead of the hull: who asks for several answers has others to choose from."""
    if not rows:
        print(f"\nNothing else keeps the limits by its estimate on {found.fit_split}.")
        return
    print(f"\nAnswers by their estimates on {found.fit_split}, the best first, one of each pair:")
    cells = [_other(row) | {"kind": i} for i, row in enumerate(rows, 1)]
    against, lossy = found.frontier[0].against.baseline, rows[0].loss is not None
    columns = {**OTHERS, "saved": f"than {against}"}
    estimate = {"fit_loss": "there:.4g"} if lossy else {"fit_accuracy": "there:.1%"}
    head = {key: columns.pop(key) for key in (*CHAIN, "rule", "threshold", "threshold_2")}
    print_table(cells, _used(head | estimate | {**columns, "usage": "use of B:.1%"}, rows))


def _other(row: SearchRow) -> dict[str, Any]:
    """A row of the hull; one model has no λ."""
    saved = row.price.saved
    return _plain(row) | {
        "rule": row.score and row.score + (" -p" if row.postcheck else ""),
        "threshold": row.threshold.threshold if row.model_2 else None,
        "saved": saved and relative(saved.value),
        "kind": "answer" if row.kind == "answer" else "",
    }


def extent(shown: int, corners: int, where: str) -> str:
    """How many of the good choices are shown, and which images tell of them."""
    more = "" if shown == corners else f"; {shown} of {corners}, --output FILE has all"
    return f"Good choices, cheapest first ({where}{more})"


def _used(columns: dict[str, str], rows: Sequence[SearchRow]) -> dict[str, str]:
    third = any(row.model_3 for row in rows)
    left = set() if third else {*_THIRD}
    left |= set() if any(row.loss for row in rows) else {"loss"}
    left |= {"accuracy"} if any(row.abstained for row in rows) else {*NOBODYS}
    return {key: title for key, title in columns.items() if key not in left}


def _plain(row: SearchRow) -> dict[str, Any]:
    cells = {"cost": cost_cell(row.price), "kind": NAMES.get(row.kind, row.kind)}
    return row.columns() | cells


def show_devices(rows: Sequence[DeviceChoice], unit: str) -> None:
    """A choice per device, priced on all, then the excess of each on every other, and what one
    choice for all of them costs."""
    devices = list(rows[0].costs)
    shown = [
        row.columns()
        | {name: figure(row.costs[name], unit) for name in devices}
        | {"rule": row.score + (" -p" if row.postcheck else "")}
        for row in rows
    ]
    own = {row.device: row.accuracy.value for row in rows}
    columns = {"device": "best on"} | MODELS | {"rule": "rule", "threshold": "λ:.4g"}
    columns |= {"accuracy": "accuracy:.2%", "usage": "use of B:.1%", "target": "limits"}
    print_table(shown, columns | {name: f"cost on {name}, {told_in(unit)}" for name in devices})
    for row in rows:
        if row.device == ALL_DEVICES:
            told = (
                f"{excess:+.1%} on {name} and is {100 * (row.accuracy.value - own[name]):+.1f} "
                "points more accurate"
                for name, excess in row.excess.items()
            )
            print_text(f"One choice for all costs, against each one's own: {'; '.join(told)}.")
            continue
        for device, excess in row.excess.items():
            if device != row.device:
                print(f"{row.device}'s choice costs {excess:+.1%} on {device}")
    if rows[-1].device != ALL_DEVICES:
        print_text("No one choice keeps the limits of all devices.")
