"""Networks under distortion: λ fits clean images; does the cascade hold where they are not clean?

    python -m examples.distortions distortions.parquet vgg19 resnet152

In: a table with experiment, condition, label and, for each network, M.prediction and M.maxp, of a
row for each image; and the cascade's first and second network. Out: for the clean images and for
every kind of distortion the accuracies of both networks and the cascade, and the use of the second.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from cache import Store
from stages import scores, threshold
from stages.cascade import Cascade, decide
from stages.ingest import ImportRequest, import_many

CLEAN = ("0", "0.0", "1-10-10", "c100", "cr", "inf", "true")  # conditions without distortion


@dataclass(frozen=True)
class Held:
    """Of `images` that are clean, or of one kind of distortion: accuracies, and the use of B."""

    kind: str
    images: int
    accuracy_1: float
    accuracy_2: float
    accuracy: float
    usage: float


def held(table: pl.DataFrame, pair: tuple[str, str]) -> Iterator[Held]:
    """The cascade of which the clean images fit λ, on these themselves and on every distortion."""
    kinds = pl.when(pl.col("condition").is_in(CLEAN)).then(pl.lit("clean")).otherwise("experiment")
    answers = ["label", *(f"{name}.{what}" for name in pair for what in ("prediction", "maxp"))]
    parts = table.select(*answers, kind=kinds).partition_by("kind", as_dict=True)
    with TemporaryDirectory() as folder:
        store, file = Store(folder), Path(folder, "answers.parquet")
        for (kind,), part in sorted(parts.items(), key=lambda each: each[0] != ("clean",)):
            part.drop("kind").write_parquet(file)
            request = ImportRequest("things", kind, "", str(file), kind="answers")
            import_many(store, request, kind)
        for kind in ("clean", *sorted(name for (name,) in parts if name != "clean")):
            images = scores.load(store, "things", kind, pair)
            limit, _ = threshold.fitted_point(images, threshold.plan(store, images, "clean"), pair)
            found = decide(images, Cascade.of(pair, "maxp", limit))
            first, second = map(float, images.accuracy)
            yield Held(kind, len(images.labels), first, second, found.accuracy, found.usage())


def main(path: str, first: str, second: str) -> int:
    print(f"{'':32} images  {first:>10}  {second:>10}  cascade  use of {second}")
    rows = list(held(pl.read_parquet(path), (first, second)))
    for row in rows:
        print(
            f"{row.kind:32} {row.images:6}  {row.accuracy_1:10.1%}  {row.accuracy_2:10.1%}  "
            f"{row.accuracy:7.1%}  {row.usage:.1%}"
        )
    holds = [row for row in rows[1:] if row.accuracy >= max(row.accuracy_1, row.accuracy_2)]
    print(f"as accurate as both: {len(holds)} of {len(rows) - 1} kinds of distortion")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
