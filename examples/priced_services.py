"""Priced services: which is asked first, and when is a dearer one worth its price?

    python -m examples.priced_services faces.parquet 0.0008

In: a wide table with label and, for each service, M.prediction, M.confidence, M.usd_per_request,
such as FER+'s; and the dollars that a request may cost. Out: the most accurate cascade for them,
with λ in the first service's own confidence. Confidences of two services do not compare, so whoever
was asked last answers.
"""

from __future__ import annotations

import sys
from tempfile import TemporaryDirectory

from cache import InputError, Store
from stages import costs, scores, search, threshold
from stages.ingest import ImportRequest, import_many


def within(table: str, budget: float) -> search.SearchResult:
    """The most accurate cascade of a table's services for `budget` dollars a request."""
    with TemporaryDirectory() as folder:
        store = Store(folder)
        import_many(store, ImportRequest("faces", "test", "", table, kind="answers"), "test")
        services = scores.load(store, "faces", "test")
        pricer = costs.pricer(store, services, kind="usd")
        if pricer is None:
            raise InputError(f"{table} does not tell what a request costs")
        asked = search.Search.of(
            services,
            threshold.plan(store, services),
            pricer,
            search.Space(tuple(search.rules(["confidence"], [False]))),
            search.Question(search.COST, budget),
        )
        return search.run(store, asked)


def main(table: str, budget: str) -> int:
    try:
        found = within(table, float(budget))
    except InputError as error:
        print(f"priced_services: {error}", file=sys.stderr)
        return 2
    answer = found.answer
    if answer is not None and answer.model_2 is not None:
        print(f"{answer.model_1} first, {answer.model_2} where it is less sure than λ")
        print(f"λ = {answer.threshold} in the confidence of {answer.model_1}")
    print(*found.sentences, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
