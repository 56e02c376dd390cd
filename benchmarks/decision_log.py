"""A decision log: what a line costs that writes it, and a million that read them.

    python -m benchmarks.decision_log

Written are requests of a pair with three scores, against a dict for each, `json.dumps` and one
`write` of an open file; microseconds of processor time for a line, the best of 7 in turn. Read are
a million lines of 470 bytes, in order and shuffled, against `pyarrow.json.read_json` of the same
file, which keeps neither order nor each request once: seconds in a process of its own, the median
of 5 in turn, and the peak of its memory.

On two cores with other work beside it (load 3 to 5): 40 µs at batch 1 and 7 µs at batch 64, 2.6×
and 0.46×; read in 1.1 to 1.4× (in order) and 1.2 to 1.6× (shuffled), 2.1× where a process reads it
again; 663 MiB, 0.69×.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.peak import peak_mib
from stages.cascade import Outcome
from stages.policy.decision_log import DecisionLog

LINES, WRITTEN, ROUNDS, PAIRS = 1_000_000, 6_400, 7, 5
MODELS, POLICY = ("digits_wide", "digits_residual"), "f" * 64
SCORES = ("maxp", "difference", "entropy")


def main(words: list[str]) -> int:
    if words:  # a child
        begun = time.perf_counter()
        {"read_log": read_ours, "read_json": read_pyarrows}[words[0]](words[1])
        print(time.perf_counter() - begun, peak_mib())
        return 0
    with tempfile.TemporaryDirectory() as folder:
        writing(folder)
        reading(Path(folder, "x.jsonl"))
    return 0


def batch(n: int) -> tuple[Outcome, list[dict[str, np.ndarray]], np.ndarray]:
    """What a cascade decides about n requests, B on some of them."""
    rng = np.random.default_rng(0)
    ran = rng.random(n) < 0.3
    answers = [
        {"ran": there, "prediction": rng.integers(0, 1000, n).astype(np.int32)}
        | {name: rng.random(n) for name in SCORES}
        for there in (np.ones(n, bool), ran)
    ]
    stage, no = ran.astype(np.int8), np.zeros(n, bool)
    prediction = np.where(ran, answers[1]["prediction"], answers[0]["prediction"])
    return Outcome(stage, stage, prediction, [], hit=no, failed=no), answers, no


def writing(folder: str) -> None:
    print("written, µs a line")
    log = DecisionLog(folder, MODELS, POLICY)
    with Path(folder, "naive").open("a", encoding="utf-8") as file:
        for n in (1, 64):
            both = (partial(log.write, latency_ms=1.2345), lambda *given: file.write(naive(*given)))
            given = ([f"images/{i:08}.png" for i in range(n)], *batch(n))
            calls = [partial(each, *given) for each in both]
            took = [[seconds(call, WRITTEN // n) for call in calls] for _ in range(ROUNDS)]
            ours, floor = (1e6 * min(each) / WRITTEN for each in zip(*took, strict=True))
            print(f"  batch {n:2} {ours:6.1f} {ours / floor:5.2f}× ({floor:.1f})")


def seconds(call: Callable[[], object], times: int) -> float:
    begun = time.process_time()
    for _ in range(times):
        call()
    return time.process_time() - begun


def naive(
    keys: list[str], outcome: Outcome, answers: list[dict[str, np.ndarray]], drawn: np.ndarray
) -> str:
    """The same lines, a dict and `json.dumps` each."""
    out = []
    for i, key in enumerate(keys):
        line = {"v": 1, "time": "2026-11-30T16:20:00.123456+00:00", "key": key, "policy": POLICY}
        line |= {"models": MODELS, "answered": MODELS[outcome.answered[i]]}
        line |= {"prediction": int(outcome.prediction[i])}
        for name, of in (("predictions", "prediction"), *zip(SCORES, SCORES, strict=True)):
            line[name] = [each[of][i].item() if each["ran"][i] else None for each in answers]
        line |= {"escalated": bool(outcome.stage[i]), "hit": False, "failed": False}
        line |= {"drawn": bool(drawn[i]), "latency_ms": 1.2345, "batch": len(keys)}
        out.append(json.dumps(line, separators=(",", ":")) + "\n")
    return "".join(out)


def reading(file: Path) -> None:
    lines = [line for k in range(LINES // 1000) for line in thousand(k)]
    for what in ("in order", "shuffled"):
        file.write_text("".join(lines), "ascii")
        print(f"read, {LINES:,} lines {what}, {file.stat().st_size >> 20} MiB")
        each = ("read_log", "read_json")
        ran = [[child(name, file) for name in each] for _ in range(PAIRS)]
        took = [median(run[k][0] for run in ran) for k in range(2)]
        peaks = [max(run[k][1] for run in ran) for k in range(2)]
        print(f"  seconds {took[0]:6.2f} {took[0] / took[1]:5.2f}× ({took[1]:.2f})")
        print(f"  MiB     {peaks[0]:6.0f} {peaks[0] / peaks[1]:5.2f}× ({peaks[1]:.0f})")
        random.Random(0).shuffle(lines)


def thousand(k: int) -> list[str]:
    """Lines of keys of their own, at times of their own."""
    decided = batch(1000)
    text = naive([f"images/{1000 * k + i:08}.png" for i in range(1000)], *decided)
    at = f"2026-11-{1 + k // 86_400:02}T{k // 3600 % 24:02}:{k // 60 % 60:02}:{k % 60:02}.123456"
    return text.replace("2026-11-30T16:20:00.123456", at).splitlines(keepends=True)


def child(name: str, file: Path) -> tuple[float, float]:
    """(seconds, MiB) of a process that reads it so."""
    command = [sys.executable, "-m", "benchmarks.decision_log", name, str(file)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    took, peak = map(float, out.split())
    return took, peak


def read_ours(file: str) -> None:
    from stages.ingest.decision_log import read_log

    read_log(file, lambda line: None)


def read_pyarrows(file: str) -> None:
    from pyarrow.json import read_json

    read_json(file)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
