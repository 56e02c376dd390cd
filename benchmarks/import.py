"""Import of 34 models × 50,000 images and the search on them, against what is done anyway.

    python -m benchmarks.import

The floor of import is the wide Parquet read whole with pyarrow and a table for each model written
with pyarrow, without checks, digests, manifests and fsync: calls in one process, and processes that
start with nothing; medians of 11 in turn. The search on top-2 is held against that on the logits
that they come from, in processes, the best of 3. Seconds are of processor time. Memory is the peak
of a process that imports 4 or all of the models.

On two cores with nothing beside it: a process that imports 2.1×, the call alone 2.9× (it checks and
digests each model, and keeps 34 partitions durably); the search 0.76× from import alone and 0.96×
with scores made; 209 MiB for 4 models and 216 MiB for 34.
"""

# ruff: noqa: N999  it is run and never imported

from __future__ import annotations

import inspect
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import softmax

from benchmarks.peak import peak_mib
from benchmarks.search import CLASSES, cpu_seconds, logits_of
from cache import Store
from stages.ingest import ImportRequest, import_many

PUBLISHED = Path(__file__).parents[2] / "shared/data/outputs/imagenet_top2.parquet"
MODELS, FEW, IMAGES, ROUNDS, PAIRS = 34, 4, 50_000, 3, 11
CASCADE = ("-m", "cascade_cli.main")


def main(words: list[str]) -> int:
    if words:  # a child: its peak is reported
        imported(*words)
        print(peak_mib())
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for name, table in made():
            pq.write_table(table, Path(folder, f"{name}.parquet"))
        against_floor(PUBLISHED if PUBLISHED.exists() else Path(folder, "top-k.parquet"), folder)
        cold_search(folder)
        memory(folder)
    return 0


def made() -> Iterator[tuple[str, pa.Table]]:
    """Wide tables of the same models by kind, and of the logits of the first few."""
    labels, models = logits_of(MODELS, IMAGES)
    logits, top = {"label": labels}, {"label": labels}
    for m, each in enumerate(models):
        p = softmax(each.astype(np.float64), axis=1)
        best = np.argsort(-p, axis=1, kind="stable")[:, :2]
        logits |= {f"m{m:02}.{k}": each[:, k] for k in range(CLASSES)}
        for k in range(2):
            top[f"m{m:02}.class_{k + 1}"] = best[:, k]
            top[f"m{m:02}.p_{k + 1}"] = p[np.arange(IMAGES), best[:, k]]
    yield "top-k", pa.table(top)
    yield "logits", pa.table(logits)
    yield "few", pa.table(dict([*logits.items()][: 1 + FEW * CLASSES]))


def against_floor(file: Path, folder: str) -> None:
    print(f"import of {MODELS} models × {IMAGES} images, {file.name}, against read + write")
    cache, out = Path(folder, "cache"), Path(folder, "out")
    floor = f"{inspect.getsource(written)}\nimport sys\nwritten(*sys.argv[1:])"
    ours = [*CASCADE, "import", "-d", "synthetic", "--split", "val", "--top-k"]
    for what, run, least in (
        ("call", lambda: imported(file, cache), lambda: written(file, out)),
        ("process", [*ours, file, "--cache", cache], ["-c", floor, file, out]),
    ):
        pairs = [[best(each, [cache, out], 1) for each in (run, least)] for _ in range(PAIRS)]
        took, floor_took = map(median, zip(*pairs, strict=True))
        print(f"  {what:<22} {took:5.2f} s {took / floor_took:5.2f}× ({floor_took:.2f} s)")


def imported(file: str | Path, root: str | Path, kind: str = "top_k") -> None:
    request = ImportRequest("synthetic", "val", "", str(file), kind=kind)
    import_many(Store(str(root)), request, "val")


def written(file, out):  # a source of its own: a process runs it that imports nothing else
    from pathlib import Path

    import pyarrow.parquet as pq

    table = pq.read_table(file)
    for model in {name.rpartition(".")[0] for name in table.column_names if "." in name}:
        columns = [name for name in table.column_names if name.rpartition(".")[0] in ("", model)]
        path = Path(out, f"{model}.parquet")
        path.parent.mkdir(exist_ok=True)
        kept = table.select(columns)
        pq.write_table(kept, path, compression="zstd", compression_level=1, use_dictionary=False)


def cold_search(folder: str) -> None:
    print("search on top-2 against logits, each a process")
    for kind in ("top_k", "logits"):
        imported(Path(folder, f"{kind.replace('_', '-')}.parquet"), Path(folder, kind), kind)
    for what, gone in (
        ("from import alone", ("scores", "_manifests/scores", "results")),
        ("with scores made", ("results",)),
    ):
        took = [
            best(
                [*CASCADE, "search", "-d", "synthetic", "-s", "maxp,difference", "--cache", root],
                [root / each for each in gone],
            )
            for root in (Path(folder, "top_k"), Path(folder, "logits"))
        ]
        print(f"  {what:<22} {took[0]:5.2f} s {took[0] / took[1]:5.2f}× ({took[1]:.2f} s)")


def memory(folder: str) -> None:
    print("peak memory of an import of logits")
    for models, name in ((FEW, "few"), (MODELS, "logits")):
        words = [Path(folder, f"{name}.parquet"), Path(folder, f"of {name}"), "logits"]
        done = python("-m", "benchmarks.import", *words)
        size = models * IMAGES * CLASSES * 4 >> 20
        print(f"  {models:2} models, {size:3} MiB  {float(done):6.0f} MiB")


def best(
    run: Callable[[], object] | Sequence[object], gone: Sequence[Path], rounds: int = ROUNDS
) -> float:
    """Processor seconds of a call, or of python with these words, after `gone` was removed."""
    took = []
    for _ in range(rounds):
        for each in gone:
            shutil.rmtree(each, ignore_errors=True)
        begun = children()
        call = run if callable(run) else partial(python, *run)
        took.append(cpu_seconds(call) + children() - begun)
    return min(took)


def python(*words: object) -> str:
    """What it prints."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def children() -> float:
    """Processor seconds of those that have ended."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
