"""Every analysis command on one fixed cache: its `--json`, its words and its files, held.

    python tests/golden.py [FOLDER]

writes the files anew, to tests/golden or FOLDER: for who changes an answer on purpose, and for
comparing two commits byte by byte. NAME.json is what a command says with `--json`, NAME.txt at 80
columns without, NAME.files.json what it writes, refused.json what it answers to wrong questions.
The cache holds digits (two splits, two runtimes, turned images, hashes, costs on two devices) and
imported logits full of ties (`ties` with two splits, `lone` with one); a program of schema version
1 made it. `given` are files for a stream, an import and costs.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from unittest import mock

from golden_written import content, lasting, steady

HERE = Path(__file__).parent / "golden"
DIGITS = ("-d", "digits", "--runtime", "torch-fp32-cpu")
PAIR = ("-m1", "digits_wide", "-m2", "digits_residual", *DIGITS[2:])
FEW = (*DIGITS, "--models", "digits_wide,digits_plain,digits_residual", "-s", "maxp")
TIES = ("-m1", "small", "-m2", "large", "--dataset", "ties")
LONE = ("-m1", "small", "-m2", "large", "--dataset", "lone")

COMMANDS = {
    "score": ("score", *DIGITS),
    "score-ties": ("score", "-d", "ties"),
    "threshold": ("threshold", *PAIR),
    "threshold-postcheck": ("threshold", *PAIR, "-s", "entropy", "--postcheck"),
    "threshold-oracle": ("threshold", *PAIR, "-s", "oracle"),
    "threshold-original": ("threshold", *PAIR, "--fit-split", "test", "-n", "10"),
    "threshold-all": ("threshold", *DIGITS, "--all-pairs", "-s", "entropy", "--cost", "macs"),
    "threshold-ties": ("threshold", *TIES, "-s", "difference"),
    "threshold-lone": ("threshold", *LONE, "--postcheck"),
    "threshold-lone-all": ("threshold", "-d", "lone", "--all-pairs", "-s", "maxp"),
    "search": ("search", *DIGITS),
    "search-joules": ("search", *FEW, "--cost", "joules", "--cost-device", "bench"),
    "search-batch": ("search", *FEW, "--cost", "joules", "--batch-size", "8"),
    "search-accurate": ("search", *FEW, "--min-accuracy", "0.97", "--cost", "latency"),
    "search-within-cost": ("search", *FEW, "--max-cost", "8mJ"),
    "search-match": ("search", *FEW, "--match", "digits_plain", "--within", "0.02"),
    "search-best": ("search", *FEW, "--best-accuracy"),
    "search-sure": ("search", *FEW, "--min-accuracy", "0.9", "--confidence", "0.9"),
    "search-certify": ("search", *FEW, "--certify", "0.03,0.1"),
    "search-betting": (
        *("search", *FEW, "--certify", "0.03,0.1", "--bound", "betting"),
        *("--reference", "digits_plain", "--max-usage", "0.6"),
    ),
    "search-chains": ("search", *FEW, "--stages", "3", "--cost", "macs"),
    "search-optimism": ("search", *FEW, "--best-accuracy", "--optimism", "--resamples", "50"),
    "search-ties": ("search", "-d", "ties", "--postcheck"),
    "search-lone": ("search", "-d", "lone"),
    "search-lone-chains": ("search", "-d", "lone", "--stages", "3"),
    "search-devices": ("search", *DIGITS, "--cost-device", "all"),
    "search-devices-accurate": (
        *("search", *DIGITS, "--cost-device", "all", "--cost", "latency"),
        *("--min-accuracy", "0.95"),
    ),
    "rules": ("rules", *PAIR, "--third", "digits_plain"),
    "rules-committee": (
        *("rules", *PAIR, "--rules", "maxp,energy,learned", "--finals", "b,postcheck,ensemble"),
        *("--committee", "digits_wide,digits_separable,digits_residual"),
    ),
    "rules-all": ("rules", *DIGITS, "--all-pairs", "--rules", "maxp,maxp_t"),
    "rules-lone": ("rules", *LONE, "--rules", "maxp,entropy,margin"),
    "calibrate": ("calibrate", *DIGITS),
    "calibrate-lone": ("calibrate", "-d", "lone"),
    "heterogeneity": ("heterogeneity", *DIGITS),
    "heterogeneity-complementarity": ("heterogeneity", *DIGITS, "--metric", "complementarity"),
    "heterogeneity-predict": ("heterogeneity", *DIGITS, "--predict"),
    "heterogeneity-ties": ("heterogeneity", "-d", "ties", "--metric", "disagreement"),
    "simulate": ("simulate", *PAIR),
    "simulate-fixed": ("simulate", *PAIR, "-s", "entropy", "-t", "0.4", "--postcheck"),
    "simulate-always": ("simulate", *PAIR, "-t", "always", "--cost", "joules"),
    "simulate-oracle": ("simulate", *PAIR, "-s", "oracle"),
    "simulate-memory": ("simulate", *PAIR, "-m", "dhash", "--duplicates", "1"),
    "simulate-turned": (
        *("simulate", *PAIR, "-m", "invariants", "--duplicates", "0.5", "--rotations", "0.5"),
        *("--order", "shuffled", "--seed", "3"),
    ),
    "simulate-table": (
        *("simulate", *PAIR, "-m", "phash", "--duplicates", "2", "--memory-size", "100"),
        *("--memory-radius", "3", "--memory-trust", "0.5"),
    ),
    "simulate-idle": (
        *("simulate", *PAIR, "--cost", "joules", "--cost-device", "bench"),
        *("--arrival-rate", "50", "--batch-size", "8"),
    ),
    "simulate-ties": ("simulate", *TIES, "-s", "difference", "--postcheck"),
    "simulate-lone": ("simulate", *LONE, "--objective", "1se"),
    "simulate-near": ("simulate", *TIES, "-s", "maxp", "--postcheck"),
    "simulate-runtimes": ("simulate", *PAIR[:4], "--runtimes", "torch-fp32-cpu,torch-bf16-cpu"),
    "check": ("check", "digits-policy", "--split", "val"),
    "check-ties": ("check", "ties-policy", "--split", "fit"),
    "export-policy": ("export", "--policy", "written", *PAIR, "-s", "difference"),
    "report": ("report", *DIGITS, "--output", "report.html"),
    "report-lone": ("report", *LONE, "--output", "report.html"),
    "models": ("models", "-d", "digits"),
    "datasets": ("datasets",),
    "cache-ls": ("cache", "ls", "-d", "lone"),
    "cache-verify": ("cache", "verify"),
}
# Without `--json`, as on a terminal of 80 columns.
PRINTED = {
    "threshold": (*COMMANDS["threshold"], "-o", "threshold.csv"),
    "threshold-all": (*COMMANDS["threshold-all"], "-o", "threshold.parquet"),
    "threshold-lone": (*COMMANDS["threshold-lone"], "-o", "lone.csv", "--for-spreadsheets"),
    "search": ("search", *FEW, "-o", "search.csv", "--policy", "search-policy"),
    "search-match": (*COMMANDS["search-match"], "-o", "match.parquet"),
    "search-certify": (*COMMANDS["search-certify"], "-o", "certify.csv"),
    "search-within-cost": (*COMMANDS["search-within-cost"], "--policy", "within-policy"),
    "search-ties": COMMANDS["search-ties"],
    "search-lone-chains": (*COMMANDS["search-lone-chains"], "-o", "chains.csv"),
    "search-devices": (*COMMANDS["search-devices"], "-o", "devices.csv"),
    "rules": (*COMMANDS["rules-lone"], "-o", "rules.csv"),
    "rules-all": (*COMMANDS["rules-all"], "-o", "rules.parquet"),
    "calibrate": (*COMMANDS["calibrate-lone"], "-o", "bins.csv"),
    "heterogeneity": (*COMMANDS["heterogeneity"], "-o", "heterogeneity.csv"),
    "heterogeneity-predict": (*COMMANDS["heterogeneity-predict"], "-o", "predict.csv"),
    "simulate": COMMANDS["simulate"],
    "simulate-turned": COMMANDS["simulate-turned"],
    "simulate-idle": COMMANDS["simulate-idle"],
    "simulate-lone": COMMANDS["simulate-lone"],
    "simulate-near": COMMANDS["simulate-near"],
    "simulate-runtimes": COMMANDS["simulate-runtimes"],
    "check": COMMANDS["check"],
    "check-ties": COMMANDS["check-ties"],
    "export-memory": (
        *("export", "--policy", "memory-policy", *PAIR, "-s", "entropy", "-t", "0.4", "-p"),
        *("-m", "dhash", "--memory-size", "100", "--memory-trust", "0.2"),
    ),
    "export-wide": ("export", "-o", "wide.csv", *DIGITS, "--split", "test"),
    "export-publish": ("export", "--publish", "published", "-d", "lone", "--tier", "top10"),
    "report": (*COMMANDS["report"], *PAIR[:4]),
    "report-lone": COMMANDS["report-lone"],
    "hash-robustness": (
        *("hash", "-d", "digits", "--split", "test", "--robustness", "-n", "20", "--radius", "0,4"),
        *("--algorithms", "dhash,invariants", "-o", "robustness.csv"),
    ),
    "score": COMMANDS["score-ties"],
    "models": COMMANDS["models"],
    "cache-ls": ("cache", "ls", "-d", "lone", "--table", "samples,logits,scores"),
    "cache-rm": ("cache", "rm", "-d", "ties", "--model", "large"),
    "cache-gc": ("cache", "gc", "--older-than", "0", "--dry-run"),
}
FAST = ("-d", "own", "--split", "test", "--label-column", "label", "--logits-column", "z")
# These change the cache, so they come last, in this order.
CHANGES = {
    "simulate-stream": ("simulate", *PAIR, "--stream", "stream.csv", "-m", "invariants"),
    "import": ("import", "--model", "fast", "--logits", "fast.csv", "--macs", "1M", *FAST),
    "import-second": ("import", "--model", "slow", "--logits", "slow.csv", "--macs", "8M", *FAST),
    "score-imported": ("score", "-d", "own"),
    "threshold-imported": ("threshold", "-m1", "fast", "-m2", "slow", "-s", "maxp,entropy"),
    "import-costs": ("import-costs", "nano.csv", *DIGITS, "--source", "a wattmeter"),
    "simulate-nano": ("simulate", *PAIR, "--cost-device", "nano", "--batch-size", "8"),
    "search-devices-nano": ("search", *DIGITS, "--cost-device", "nano,bench"),
    "cache-merge": ("cache", "merge", "published"),
    "cache-rm-imported": ("cache", "rm", "-d", "own", "--model", "slow", "--yes"),
    "cache-ls-changed": ("cache", "ls", "--table", "samples,logits,costs"),
}
# What is no question, with the one line that says so.
REFUSED = (
    ("threshold", "-m1", "small", "-m2", "nobody", "--dataset", "ties"),
    ("threshold", *PAIR, "-s", "maxpp"),
    ("threshold", *TIES, "--fit-split", "nowhere"),
    ("threshold", "-m1", "digits_wide", "-m2", "digits_residual"),
    ("search", "-d", "nothing"),
    ("search", *FEW, "--min-accuracy", "97"),
    ("search", *FEW, "--max-cost", "8apples"),
    ("search", *FEW, "--match", "nobody"),
    ("search", *FEW, "--certify", "0.03"),
    ("search", *FEW, "--cost-device", "moon"),
    ("rules", *PAIR, "--rules", "guess"),
    ("rules", *PAIR, "--finals", "c"),
    ("heterogeneity", *DIGITS, "--metric", "love"),
    ("simulate", *PAIR[:4], "--runtimes", "torch-fp32-cpu,none"),
    ("search", *FEW, "--certify", "0.03,0.1", "--cost-device", "bench,phone"),
    ("search", *FEW, "--stages", "3", "--cost-device", "bench,phone"),
    ("compare", *DIGITS),
    ("margin", *TIES),
    ("simulate", *PAIR, "-t", "1.5"),
    ("simulate", *PAIR, "-m", "sha"),
    ("simulate", *PAIR, "--order", "random"),
    ("simulate", *PAIR, "--duplicates", "-1"),
    ("simulate", *PAIR, "--stream", "nowhere.csv"),
    ("export", *PAIR),
    ("check", "nowhere"),
    ("import-costs", "stream.csv", "-d", "digits"),
    ("report", *DIGITS, "--output", "report.pdf"),
    ("threshold", *PAIR, "-o", "table.xls"),
)
WRITES = ("-o", "--output", "--policy", "--publish")
PROGRESS = re.compile(r": \d+ of \d+$")


def run(folder):
    """(name of the golden file, its content) of each, in a copy of the fixed cache."""
    for name in ("cache", "digits-policy", "ties-policy"):
        shutil.copytree(HERE / name, Path(folder, name))
    shutil.copytree(HERE / "given", folder, dirs_exist_ok=True)
    before = os.getcwd()
    os.chdir(folder)
    try:
        with mock.patch.dict(os.environ, COLUMNS="80"):
            yield from _all()
    finally:
        os.chdir(before)


def _all():
    for name, words in COMMANDS.items():
        yield f"{name}.json", lasting(_ran(words, "--json").json)
    for name, words in PRINTED.items():
        yield f"{name}.txt", _printed(_ran(words))
        if written := _written(words):
            yield f"{name}.files.json", written
    for name, words in CHANGES.items():
        yield f"{name}.json", lasting(_ran(words, "--json").json)
    yield "refused.json", {" ".join(words): _ran(words).refusal for words in REFUSED}


def _ran(words, *more):
    from running import cascade

    return cascade(*words, *more, "--cache", "cache")


def _printed(result):
    """Both streams, the one that may be piped on first; without how far it is."""
    notes = [line for line in result.err.splitlines() if not PROGRESS.search(line)]
    return steady("\n".join([f"exit {result.status}", *result.out.splitlines(), "", *notes, ""]))


def _written(words):
    paths = [Path(path) for flag, path in pairwise(words) if flag in WRITES]
    whole = {path.name: content(path) for path in paths}
    return {
        f"{name}: {part}": item for name, parts in whole.items() for part, item in parts.items()
    }


def differences(ours, golden, where=""):
    """Every place where two JSON values differ; numbers by more than 1e-9 of their size."""
    if isinstance(ours, dict) and isinstance(golden, dict):
        for key in dict.fromkeys((*ours, *golden)):
            yield from differences(ours.get(key, ...), golden.get(key, ...), f"{where}.{key}")
    elif isinstance(ours, list) and isinstance(golden, list) and len(ours) == len(golden):
        for i, pair in enumerate(zip(ours, golden, strict=True)):
            yield from differences(*pair, f"{where}[{i}]")
    elif isinstance(ours, float) and isinstance(golden, (int, float)):
        if not math.isclose(ours, golden, rel_tol=1e-9, abs_tol=1e-12):
            yield f"{where}: {ours} instead of {golden}"
    elif ours != golden:
        yield f"{where}: {ours!r} instead of {golden!r}"[:300]


def main(folder=HERE):
    Path(folder).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for name, said in run(place):
            text = said if isinstance(said, str) else _by_line(said) + "\n"
            Path(folder, name).write_text(text, encoding="utf-8")


def _by_line(value):
    """JSON with a row, or a value that is none, a line."""
    if isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {_rows(item)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + "\n}"
    return _rows(value)


def _rows(value):
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in value) + "\n]"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]
    main(*sys.argv[1:])
