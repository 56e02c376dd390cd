"""A paper's published figures beside what a cache says: python -m examples.kinnas2024 --help."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cache import InputError, Store
from examples.kinnas2024 import published
from examples.kinnas2024.case import Asked, missing, open_case
from examples.kinnas2024.figures import setting_row
from examples.kinnas2024.tables import show
from stages.missing import MissingError

Row = dict[str, Any]


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 2 for a request or input that is wrong, which one line tells."""
    given = vars(_parser().parse_args(words))
    place, dataset, as_json = (given.pop(name) for name in ("cache", "dataset", "json"))
    settings = [each for each in published.SETTINGS if dataset in (None, each.dataset)]
    try:
        rows, lacking = compare(Store(place), settings, Asked(**given))
    except InputError as error:
        print(f"{published.NAME}: {error}", file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps({"paper": _paper(), "settings": rows, "missing": lacking}))
    else:
        show(rows, lacking)
    return 0


def compare(
    store: Store, settings: Sequence[published.Setting], asked: Asked
) -> tuple[list[Row], list[Row]]:
    """The figures of each setting whose pair the cache has, and what it lacks, with the commands
    that make it. MissingError where it has none of the pairs."""
    rows, lacking, gaps = [], [], []
    for setting in settings:
        try:
            case = open_case(store, setting, asked)
            rows.append(setting_row(case))
            told = [*missing(case, asked)]
        except MissingError as gap:
            gaps.append(gap)
            what = f"logits of {', '.join(gap.models)} on {asked.split or setting.split}"
            told = [(what, gap.command)]
        about = {"setting": str(setting)}
        lacking += [about | {"what": what, "command": command} for what, command in told]
    if not rows:
        raise gaps[0]
    for note in dict.fromkeys(note for row in rows for note in row["fit_notes"]):
        print(note, file=sys.stderr)
    return rows, lacking


def _paper() -> Row:
    about = {"name": published.NAME, "title": published.TITLE, "reference": published.REFERENCE}
    claims = [asdict(claim) for claim in published.CLAIMS]
    return about | {"claims": claims, "memory_notes": list(published.ENERGY_NOTES)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        f"python -m examples.{published.NAME}",
        usage="%(prog)s [options]",
        description="The paper's published figures beside what a cache says of its pairs. What the "
        "cache lacks is listed, each with the command that makes it.",
    )
    option = parser.add_argument
    datasets = [each.dataset for each in published.SETTINGS]
    option("-d", "--dataset", choices=datasets, help="its settings on this [default: all]")
    option("--split", help="split to report [default: the paper's]")
    option("-t", "--train", action="store_true", help="search λ on train in every setting")
    option("--runtime", help="whose logits, where the cache has several")
    option("--cost", help="joules, latency or macs [default: the first known]")
    option("--cost-device", help="whose costs [default: one that has them all]")
    option("--cache", help="a folder or URI [default: $CASCADE_CACHE or artifacts]")
    option("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
