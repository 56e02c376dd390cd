"""Start-up of the command line, beside a bare interpreter.

python -m benchmarks.startup
"""

from __future__ import annotations

import subprocess
import sys
import time

ROUNDS = 10


def main() -> None:
    bare = median([sys.executable, "-c", "pass"])
    for words in (["--help"], ["extract", "--help"], ["threshold", "--help"]):
        took = median([sys.executable, "-m", "cascade_cli.main", *words])
        print(f"cascade {' '.join(words):<18} {took:.3f} s, {took / bare:.1f}× a bare interpreter")


def median(command: list[str]) -> float:
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - begun)
    return sorted(times)[ROUNDS // 2]


if __name__ == "__main__":
    main()
