"""How soon each command answers, beside `import typer`: a cheap run of every one of them.

python -m benchmarks.startup [OTHER] [--only COMMAND]

OTHER is another checkout, whose runs alternate with ours: the last column is ours over its.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[1]
ROUNDS = 5
PAIR = "-m1 digits_wide -m2 digits_residual --runtime torch-fp32-cpu"
# On the golden cache, or refused for a value that is looked at after all imports.
LINES = (
    "--help",
    "extract --split nowhere",
    "import --dataset d --split s --model m --logits nowhere.npy",
    "hash -d digits --algorithms nothing",
    "profile --models nothing",
    "import-costs nowhere.csv",
    "cache ls",
    "score -d ties",
    f"threshold {PAIR}",
    "search -d ties",
    f"rules {PAIR} --rules maxp",
    f"simulate {PAIR}",
    "heterogeneity -d ties",
    "calibrate -d ties",
    "export -d ties -o wide.parquet",
    "check ties-policy",
    "live -m1 nothing --dataset digits",
    "report -d nowhere",
    "models",
    "datasets",
    "doctor --idle 0",
    "config",
)
MAIN = "from cascade_cli.main import main; main()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", nargs="?", type=Path)
    parser.add_argument("--only", default="", help="commands that begin like this")
    asked = parser.parse_args()
    roots = [HERE, *filter(None, [asked.other])]
    with tempfile.TemporaryDirectory() as folder:
        golden = Path(folder, "golden")
        shutil.copytree(HERE / "tests/golden", golden)
        (golden / "cache").rename(golden / "artifacts")  # where a cache is by default
        bare = best([["-c", "import typer"]], roots[:1], golden)[0]
        print(f"import typer: {1e3 * bare:.0f} ms")
        for line in (line for line in LINES if line.startswith(asked.only)):
            ours, *theirs = best([["-c", MAIN, *shlex.split(line)]] * len(roots), roots, golden)
            beside = f", {ours / theirs[0]:.2f}× the other" if theirs else ""
            print(f"cascade {line:<72} {ours / bare:5.1f}× import typer{beside}", flush=True)


def best(commands: list[list[str]], roots: list[Path], folder: Path) -> list[float]:
    """The least seconds of each command in its checkout; a first round, which fills the caches of
    bytecode, does not count."""
    took: list[list[float]] = [[] for _ in commands]
    for _ in range(1 + ROUNDS):
        for times, command, root in zip(took, commands, roots, strict=True):
            python = {"PYTHONPATH": str(root), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
            dropped = ("PYTHONDONTWRITEBYTECODE", "CASCADE_")
            usual = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, *command], cwd=folder, env=usual | python, capture_output=True
            )
            times.append(time.perf_counter() - begun)
    return [min(times[1:]) for times in took]


if __name__ == "__main__":
    main()
