"""Every analysis command on one fixed cache, its `--json` held against golden files.

    python tests/golden.py [FOLDER]

writes the files anew, to tests/golden or FOLDER: for who changes an answer on purpose, and for
comparing two commits byte by byte. The cache holds digits (two splits, two runtimes, turned images,
hashes, costs on two devices) and imported logits full of ties (`ties` with two splits, `lone` with
one); a program of schema version 1 made it.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
from pathlib import Path

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
    "rules": ("rules", *PAIR, "--third", "digits_plain"),
    "rules-committee": (
        *("rules", *PAIR, "--rules", "maxp,energy,learned", "--finals", "b,postcheck,ensemble"),
        *("--committee", "digits_wide,digits_separable,digits_residual"),
    ),
    "rules-all": ("rules", *DIGITS, "--all-pairs", "--rules", "maxp,maxp_t"),
    "rules-lone": ("rules", *LONE, "--rules", "maxp,entropy,margin"),
    "calibrate": ("calibrate", *DIGITS),
    "calibrate-lone": ("calibrate", "-d", "lone"),
    "margin": ("margin", *TIES, "-s", "maxp", "--postcheck"),
    "margin-runtimes": (
        *("margin", "-m1", "digits_wide", "-m2", "digits_residual"),
        *("--runtimes", "torch-fp32-cpu,torch-bf16-cpu"),
    ),
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
    "compare": ("compare", *DIGITS),
    "compare-accurate": ("compare", *DIGITS, "--cost", "latency", "--min-accuracy", "0.95"),
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
# What differs from run to run, or from one version of the program to the next.
LEFT_OUT = {"seconds", "made", "sha256", "version", "versions", "changed", "size_bytes", "bytes"}


def run(folder):
    """(name, what the command said as JSON) of each, in a copy of the fixed cache."""
    from running import cascade

    for name in ("cache", "digits-policy", "ties-policy"):
        shutil.copytree(HERE / name, Path(folder, name))
    before = os.getcwd()
    os.chdir(folder)
    try:
        for name, words in COMMANDS.items():
            yield name, _lasting(cascade(*words, "--cache", "cache", "--json").json)
    finally:
        os.chdir(before)


def _lasting(value):
    if isinstance(value, dict):
        return {key: _lasting(item) for key, item in value.items() if key not in LEFT_OUT}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


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
            Path(folder, f"{name}.json").write_text(_by_line(said) + "\n", encoding="utf-8")


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
