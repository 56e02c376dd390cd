"""The whole study: python -m examples.study --help."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cache import InputError, Store
from examples.study import unequal_costs, unequal_page
from examples.study.answers import HALVINGS, Case, Numbers, answers, pairs
from examples.study.figures import budgets, draw, save
from examples.study.halving import Halving, Orderings
from examples.study.outputs import TABLES, Outputs, macs, prices, read
from examples.study.page import render
from stages.costs import pareto
from stages.scores import ScoreSet
from stages.threshold import halves

DOCS = Path(__file__).parents[2] / "docs"
NAME = "results-imagenet"


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 2 for a request or input that is wrong, which one line tells."""
    parser = argparse.ArgumentParser("python -m examples.study", description=__doc__)
    parser.add_argument("outputs", type=Path, help="folder with the tables")
    parser.add_argument("--page", choices=PAGES, help="this one only [default: all]")
    parser.add_argument("--cache", help="a folder to import into [default: a temporary one]")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where pages and figures go")
    given = parser.parse_args(words)
    pages = {name: each for name, each in PAGES.items() if given.page in (None, name)}
    try:
        lacking = [
            f for page in pages.values() for f in page.files if not (given.outputs / f).is_file()
        ]
        if lacking:
            raise InputError(
                f"{given.outputs} lacks {', '.join(lacking)}: --page makes one page only"
            )
        with tempfile.TemporaryDirectory() as folder:
            store = Store(given.cache or folder)
            for page in pages.values():
                page.make(store, given.outputs, given.docs)
    except InputError as error:
        print(f"study: {error}", file=sys.stderr)
        return 2
    return 0


@dataclass(frozen=True)
class Making:
    """`make` writes a page of these files: by way of the store, from their folder to the pages'."""

    files: Sequence[str]
    make: Callable[[Store, Path, Path], None]


def imagenet(store: Store, folder: Path, docs: Path) -> None:
    write(study(store, folder), docs)


def unequal(store: Store, folder: Path, docs: Path) -> None:
    results = unequal_costs.study(unequal_costs.read(store, folder))
    (docs / "results-unequal-costs.md").write_text(unequal_page.render(results), encoding="utf-8")
    save(budgets(results), docs / "images" / "unequal-costs.svg")


PAGES = {
    "unequal-costs": Making((unequal_costs.FILE,), unequal),
    "imagenet": Making([table.file for table in TABLES.values()], imagenet),
}


def study(store: Store, folder: Path) -> dict[str, Any]:
    """By table: its models, every number of every halving, and the mean of each pair."""
    results = {}
    for name, table in TABLES.items():
        scores = read(store, folder, table)
        ask = partial(halving_of, store.root, folder, table)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            numbers, by_pair = zip(*pool.map(ask, range(HALVINGS)), strict=True)
        results[name] = {
            "images": len(scores.labels),
            "least": round(float(scores.accuracy.min()), 5),
            "most": round(float(scores.accuracy.max()), 5),
            "models": _models(scores, prices(scores, table)),
            "halvings": together(numbers),
            "pairs": np.mean(by_pair, axis=0).round(5).tolist(),
        }
    return results


def halving_of(root: str, folder: Path, table: Outputs, seed: int) -> tuple[Numbers, np.ndarray]:
    """In a process of its own, which reads the cache itself."""
    case = open_case(read(Store(root), folder, table), table, seed)
    return answers(case), pairs(case)


def open_case(scores: ScoreSet, table: Outputs, seed: int) -> Case:
    fitting = halves(scores.labels, seed)
    price = prices(scores, table)
    return Case(seed, Halving(scores, Orderings(scores), fitting), price, targets(scores, price))


def targets(scores: ScoreSet, price: np.ndarray) -> tuple[str, ...]:
    """The models that no cheaper one reaches, by all images, without the cheapest."""
    known = np.flatnonzero(~np.isnan(price))
    front = known[pareto(price[known], scores.correct[known].sum(axis=1))]
    return tuple(scores.models[model] for model in front[1:])


def _models(scores: ScoreSet, price: np.ndarray) -> list[dict[str, Any]]:
    sources = {model: source for model, (_, source) in macs().items()}
    return [
        {"model": model, "accuracy": round(float(accuracy), 5),
         "macs": None if np.isnan(cost) else float(cost),
         "source": None if np.isnan(cost) else sources[model]}
        for model, accuracy, cost in zip(scores.models, scores.accuracy, price, strict=True)
    ]  # fmt: skip


def together(numbers: Sequence[Numbers]) -> dict[str, list[float | str]]:
    """By name, what each halving says, to six digits."""
    keys = dict.fromkeys(key for each in numbers for key in each)
    return {key: [rounded(each[key]) for each in numbers if key in each] for key in keys}


def rounded(value: float | str) -> float | str:
    return value if isinstance(value, str) else float(f"{value:.6g}")


def write(results: dict[str, Any], docs: Path) -> None:
    """The results, and the page and figures that are made from them alone."""
    page = render(results)
    lines = [f"  {json.dumps(key)}: {json.dumps(each)}" for key, each in results.items()]
    (docs / f"{NAME}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    (docs / f"{NAME}.md").write_text(page, encoding="utf-8")
    draw(results, docs / "images")


if __name__ == "__main__":
    sys.exit(main())
