"""extract in processes that end badly: `python extract_worker.py DO ROOT …`.

Its children are forked from one warm process, so that a run costs what it computes and no imports.
"""

from __future__ import annotations

import errno
import functools
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import torch  # noqa: E402
from dying import Disk, die  # noqa: E402
from few_digits import few_digits  # noqa: E402

from cache import InputError, Store  # noqa: E402
from stages import extract  # noqa: E402
from stages.models import choose  # noqa: E402

N, PART, BATCH = 400, 32, 8
MODELS = ("digits_wide", "digits_plain")
SEED = 20_26


@functools.cache
def images():
    return few_digits(N)


def run(root, models=MODELS, **options):
    options = {"batch_size": BATCH, "part_rows": PART, "workers": 1} | options
    chosen = choose("digits", models)
    how = extract.Options(torch.device("cpu"), **options)
    return extract.run(Store(root), [images()], chosen, how)


# --- children ------------------------------------------------------------------------------------


def child(root, meddling=None, **options):
    """Fork a run; returns its process id and the end of a pipe that will hold its last words."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    os.close(reading)
    status, words = 1, ""
    try:
        with meddling() if meddling else nullcontext():
            words = json.dumps([row.resumed_rows for row in run(root, **options)])
        status = 0
    except InputError as error:
        status, words = 2, str(error)
    except BaseException:
        words = traceback.format_exc()
    os.write(writing, words.encode()[:60_000])
    os._exit(status)


def ended(pid, reading):
    """(exit code, or minus the signal; last words)."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(reading) as pipe:
        return status, pipe.read()


def killed_after(seconds, root):
    pid, reading = child(root)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return ended(pid, reading)[0] == -signal.SIGKILL


def finished(root):
    """A run to the end; rows that it found done, model by model."""
    status, words = ended(*child(root))
    if status:
        raise SystemExit(f"{root}: {status}: {words}")
    return json.loads(words)


def duration(root):
    times = []
    for i in range(3):
        begun = time.monotonic()
        finished(f"{root}/timed-{i}")
        times.append(time.monotonic() - begun)
    return sorted(times)[1]


# --- what befalls them ---------------------------------------------------------------------------


def refuse(number):
    def strike(file, data):
        raise OSError(number, os.strerror(number))

    return strike


def operations(root):
    """The names of a whole run's file operations, in order."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        disk = Disk()
        with disk():
            run(root)
        os.write(writing, json.dumps(disk.done).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        names = json.loads(pipe.read())
    os.wait()
    return names


# --- doings --------------------------------------------------------------------------------------


def whole(root):
    """A run that nothing befalls."""
    return finished(root)


def kills(root, count):
    """So many runs killed at random moments spread over a run's length, then resumed."""
    dice, length = random.Random(SEED), duration(root)
    resumed, ended_before = [], 0
    while len(resumed) < int(count):
        place = f"{root}/{len(resumed)}"
        if killed_after(dice.random() * length, place):
            resumed.append(finished(place))
            length *= 1.01
        else:  # the machine has become quicker
            ended_before += 1
            length *= 0.95
            shutil.rmtree(place)
    return {"resumed": resumed, "ended before": ended_before}


def kills_at_operations(root, count):
    """Killed at so many file operations, evenly spread, and at the first of each kind."""
    names = operations(f"{root}/counted")
    spread = {i * len(names) // int(count) for i in range(int(count))}
    struck = []
    for i, at in enumerate(sorted(spread | {names.index(name) for name in set(names)})):
        place = f"{root}/{i}"
        status, words = ended(*child(place, Disk(at, die)))
        if status not in (0, -signal.SIGKILL):
            raise SystemExit(f"{place}: {status}: {words}")
        finished(place)
        struck.append(names[at])
    return {"operations": len(names), "struck": struck}


def chain(root, seed):
    """Killed again and again, each time some file operations later, until a run gets to its end."""
    dice, kills = random.Random(int(seed)), 0
    while ended(*child(root, Disk(dice.randrange(100, 500), die)))[0] == -signal.SIGKILL:
        kills += 1
    return {"kills": kills, "resumed": finished(root)}


def faults(root, count, name, lasting):
    """The operating system refuses an operation with errno `name`, once or from there on."""
    names = operations(f"{root}/counted")
    ends = []
    for i in range(int(count)):
        at = i * len(names) // int(count)
        place = f"{root}/{i}"
        disk = Disk(at, refuse(getattr(errno, name)), lasting == "lasting")
        status, words = ended(*child(place, disk))
        ends.append([names[at], status, words])
        finished(place)
    return ends


DOINGS = {f.__name__: f for f in (whole, kills, kills_at_operations, chain, faults)}


# --- the command line ----------------------------------------------------------------------------


def command(pace, *words):
    """`cascade WORDS`, each forward pass so many seconds longer; or, `held`, from the second on
    after a line on stdin. Says `running` on stderr at the second one.
    """
    from cascade_cli.main import main
    from stages.runtimes import Runner

    calls, forward = itertools.count(), Runner.logits

    def logits(runner, batch):
        number = next(calls)
        if number == 1:
            print("running", file=sys.stderr, flush=True)
            if pace == "held":
                sys.stdin.readline()
        if pace != "held":
            time.sleep(float(pace))
        return forward(runner, batch)

    with mock.patch.object(Runner, "logits", logits):
        sys.argv = ["cascade", *words]
        main()


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "command":
        command(*sys.argv[2:])
    os.fsync = lambda _: None  # what a killed process has written is there without
    with tempfile.TemporaryDirectory() as warming:
        run(warming)
    print(json.dumps(DOINGS[sys.argv[1]](*sys.argv[2:])))
