"""Random command lines, each in a process and a folder of its own: no fault of ours, no hang.

    python tests/command_lines.py 10000 [SEED]

A parent that has imported everything forks a child for each line. As root nothing is tried that
leads out of the folder; `setpriv --reuid nobody --regid nogroup --clear-groups` tries all of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

KILLED_S = 120
PLACES = 3  # folders down, so that `../..` of a line stays inside its own
SEED = 20261128

NASTY = (
    *("", " ", "\n", "\t", "\x1b[31m", "é", "💥", "\udcff", "\u202eabc", "a" * 5000, "λ"),
    *("..", "../..", ".", "/", "/proc/nowhere", "~", "nope://x", "://", "\\", "C:\\x", "%s", "{}"),
    *("-", "--", "-1", "=", ",", ",,", "a,b", "a=b", "a=b:c", "x=digits_wide:cache", "*", "$(ls)"),
    *("nan", "inf", "-inf", "1e309", "0", "-0", "9" * 400, "0x10", "1_0", "١", "1.5", "None"),
    *("all", "all-available", "always", "never", "1,2", "'", '"', ";", "&&", "<>", "cafe\u0301"),
    *("1e-320", "98", "0.98", "-0.5", "2147483648", "9223372036854775808", "null", "true"),
)
SENSIBLE = (
    *("digits", "cifar10", "mine", "test", "val", "train", "test,val", "digits_wide", "0.5", "3"),
    *("digits_plain", "digits_wide,digits_plain", "resnet20", "maxp", "entropy,oracle", "oracle"),
    *("best", "1se", "complementarity", "cpu", "bf16", "torch-fp32-cpu", "import", "64", "cache"),
    *("x.npy", "y.npy", "out.csv", "out.parquet", "out.html", "figures", "alarm", "none", "macs"),
    *("identity", "rot90", "phash", "forward", "joules", "latency", "scores", "top10", "full"),
)
FILES = (
    "fifo",
    "folder",
    "empty",
    "zeros.csv",
    "words.csv",
    "costs.csv",
    "policy",
    "x.npz",
    "gone",
)
FORBIDDEN = {"--install-completion", "--show-completion", "--download"}
PAIR = ("-m1", "digits_wide", "-m2", "digits_plain")
# What makes a command run, so that the random rest is not always refused for want of it.
ENOUGH = {
    "threshold": PAIR,
    "simulate": PAIR,
    "report": PAIR,
    "live": (*PAIR, "--limit", "20", "--batch-size", "10"),
    "extract": ("--models", "digits_wide", "--split", "test", "--no-profile"),
    "profile": ("--models", "digits_wide", "--quick", "--batch-sizes", "1"),
    "import": (
        *("-d", "mine", "--split", "a", "--model", "b"),
        *("--logits", "x.npy", "--labels", "y.npy"),
    ),
    "import-costs": ("costs.csv", "-d", "digits", "--source", "us"),
    "export": (*PAIR, "--policy", "made"),
    "check": ("--policy", "policy", "--split", "test"),
}


@dataclass(frozen=True)
class Ran:
    words: tuple[str, ...]
    status: int | None  # None where it had to be killed
    out: str
    err: str
    seconds: float

    @property
    def wrong(self):
        """What a command line must not do, None where it did not."""
        if self.status is None:
            return f"hung for {KILLED_S} s"
        if "Traceback" in self.err or self.status not in (0, 2, 3):
            return f"status {self.status}"
        if self.status == 2 and self.out:
            return "refused, and something stands on stdout"
        if self.status == 2 and not self.err.strip().splitlines()[-1].startswith("cascade: "):
            return "refused without a line that says so"
        if self.status != 2 and "--json" in self.words and not self._is_json:
            return "--json, and stdout is not one JSON object"
        return None

    @property
    def _is_json(self):
        asks_help = {"--help", "-h", "--version"} & set(self.words)
        try:
            return bool(asks_help) or isinstance(json.loads(self.out), dict)
        except ValueError:
            return False


def commands():
    """The options of each command, (flag, whether it stands alone), from the program itself."""
    from typer.main import get_command

    from cascade_cli.main import app

    return dict(_commands(get_command(app), ()))


def _commands(command, words):
    inner = getattr(command, "commands", None)
    for name, each in sorted((inner or {}).items()):
        yield from _commands(each, (*words, name))
    if inner is None:
        yield words, [*_options(command), ("--help", True)]


def _options(command):
    return [
        (flag, parameter.is_flag)
        for parameter in command.params
        if parameter.param_type_name == "option"
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag not in FORBIDDEN
    ]


def value(rng):
    kind = rng.choices((NASTY, SENSIBLE, FILES), (4, 5, 1))[0]
    return rng.choice(kind)


def line(rng, table):
    """The words of one command line."""
    name = rng.choice(sorted(table))
    words = list(name)
    if rng.random() < 0.7:
        words += ENOUGH.get(name[0], ())
    if rng.random() < 0.95:
        words += ["--cache", "cache"]
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))):
        flag, alone = rng.choice(table[name])
        words += [flag] if alone else [flag, value(rng)]
    if rng.random() < 0.15:
        words.insert(rng.randrange(len(words) + 1), value(rng))
    root = {"/"} if os.getuid() == 0 else set()
    return tuple(word for word in words if word not in FORBIDDEN | root)


def lines(count, seed=SEED):
    rng, table = random.Random(seed), commands()
    return [line(rng, table) for _ in range(count)]


# --- the folder each line runs in ----------------------------------------------------------------


def furnish(folder):
    """A small cache and a file of every kind that an option may name."""
    folder.mkdir(parents=True)
    with _inside(folder):
        made = child(("extract", "--models", "digits_wide,digits_plain", "--no-profile",
                      "--cache", "cache"))  # fmt: skip
        assert made.status == 0, made.err
        exported = child(("export", *PAIR, "--policy", "policy", "--cache", "cache"))
        assert exported.status == 0, exported.err
        rng = np.random.default_rng(0)
        np.save("x.npy", rng.standard_normal((60, 4)).astype(np.float32))
        np.save("y.npy", np.arange(60) % 4)
        np.savez("x.npz", x=np.eye(6), y=np.arange(6))
        Path("folder").mkdir()
        Path("empty").touch()
        Path("zeros.csv").write_bytes(bytes(4096))
        Path("words.csv").write_text("a,b\nx,y\n")
        Path("costs.csv").write_text(
            "model,device,batch_size,latency_ms\ndigits_wide,d,1,2\ndigits_plain,d,1,3\n"
        )


def run(words, furnished):
    """One line in a copy of the folder, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as outer:
        place = Path(outer, *"abc"[:PLACES])
        shutil.copytree(furnished, place)
        os.mkfifo(place / "fifo")
        with _inside(place):
            return child(words)


@contextlib.contextmanager
def _inside(folder):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def child(words):
    """The command line in a fork of this process, its messages and how it ended."""
    begun = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            _be_cascade(words, out, err)
        status = _ended(pid, begun)
        told = [_text(file) for file in (out, err)]
    return Ran(tuple(words), status, *told, time.monotonic() - begun)


def _text(file):
    file.seek(0)
    return file.read().decode(errors="replace")


def _be_cascade(words, out, err):
    """Never returns."""
    status = 1
    try:
        os.setsid()
        for target, file in enumerate((os.open(os.devnull, os.O_RDONLY), out, err)):
            os.dup2(file if target == 0 else file.fileno(), target)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, mode) for n, mode in enumerate("rww"))
        os.environ |= {"HOME": os.getcwd(), "TORCH_HOME": os.getcwd()}
        os.environ.pop("CASCADE_CACHE", None)
        sys.argv = ["cascade", *words]
        from cascade_cli.main import main

        main()
        status = 0
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _ended(pid, begun):
    """The exit status; None where it was killed for taking too long."""
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - begun > KILLED_S:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.002)


def warm():
    """Import once what the children would import each. Nothing computes here: threads that stand
    before a fork are not there after it."""
    import polars  # noqa: F401
    import torch

    import cascade_cli.main  # noqa: F401
    import stages.report
    import stages.simulate.stage  # noqa: F401

    torch.set_num_threads(1)


def main(count, seed=SEED):
    warm()
    seen, wrong, slowest = Counter(), [], Counter()
    with tempfile.TemporaryDirectory() as folder:
        furnish(Path(folder, "furnished"))
        for done, words in enumerate(lines(count, seed)):
            ran = run(words, Path(folder, "furnished"))
            seen[ran.status] += 1
            slowest[words[0]] = max(slowest[words[0]], round(ran.seconds, 1))
            if ran.wrong:
                wrong.append(ran)
                print(
                    f"{ran.wrong}: {' '.join(map(ascii, words))[:600]}\n{ran.err[-1500:]}",
                    flush=True,
                )
            if done % 500 == 499:
                print(f"{done + 1} lines, statuses {dict(seen)}, {len(wrong)} wrong", flush=True)
    print(f"{count} lines: statuses {dict(seen)}; wrong: {len(wrong)}; slowest, s: {dict(slowest)}")
    return len(wrong)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]
    sys.exit(bool(main(*map(int, sys.argv[1:]))))
