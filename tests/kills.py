"""Commands that get SIGKILL in the middle of writing: `python tests/kills.py [KILLS] [COMMAND …]`.

Each command is killed KILLS times (20), by turns at a counted operation on a file and at a moment
between its first write and its end, both drawn with a seed. After each kill `cascade cache verify`
must tell what there is and accuse nothing sound; the same command, run again, must give the rows
and files of a run that nothing befell. Prints a table of what was found.

Processes are forked from one that has imported everything, so that a run costs no imports.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from dying import Disk, die  # noqa: E402
from full_cache import full_cache, write_model  # noqa: E402
from helpers import make_cache  # noqa: E402

from cascade_cli.main import main  # noqa: E402

SEED = 20_26
OLD = "what was there before\n"
_READS = {"open_input_file", "get_file_info"}


# --- what is killed ------------------------------------------------------------------------------


def _cache(root):
    store = make_cache(root / "cache", n=30, trained_on={"small": ("train",)})
    assert _run(("score", "-d", "toy", "--cache", str(store.root))).status == 0


def _cache_and_file(root, name):
    _cache(root)
    (root / "out").mkdir()
    (root / "out" / name).write_text(OLD)


def _arrays(root):
    """More rows than one part has."""
    rng = np.random.default_rng(1)
    np.save(root / "logits.npy", rng.standard_normal((9000, 3)).astype(np.float32))
    np.save(root / "labels.npy", rng.integers(0, 3, 9000))


def _sources(root):
    full_cache(root / "source")
    store = make_cache(root / "shard", models=("more",), splits=("val",), n=20)
    write_model(store, "late", parts=(0, 1))
    make_cache(root / "cache", models=("mine",), splits=("val",), n=20)


_TOY = ("-d", "toy", "--cache", "{}/cache")


@dataclass(frozen=True)
class Case:
    """`prepare` makes what a command is run in; `watched` is the cache that it writes or, where it
    writes a file, that file; `done`: what a run says that comes after all is done."""

    words: tuple[str, ...]
    prepare: Callable[[Path], object]
    watched: str
    done: str | None = None


CASES = {
    "publish": Case(
        ("export", "--publish", "{}/copy", "--tier", "full", *_TOY), _cache, "copy", "is not empty"
    ),
    "import": Case(
        (
            *("import", "--split", "test", "--model", "big", "--logits", "{}/logits.npy"),
            *("--labels", "{}/labels.npy", "--class-names", "{}/names.txt", *_TOY),
        ),
        lambda root: (_arrays(root), (root / "names.txt").write_text("a\nb\nc\n")),
        "cache",
    ),
    "export": Case(
        ("export", "-o", "{}/out/wide.csv", *_TOY),
        lambda root: _cache_and_file(root, "wide.csv"),
        "out/wide.csv",
    ),
    "report": Case(
        ("report", "-o", "{}/out/page.html", *_TOY),
        lambda root: _cache_and_file(root, "page.html"),
        "out/page.html",
    ),
    "merge": Case(
        ("cache", "merge", "{}/source", "{}/shard", "--cache", "{}/cache"), _sources, "cache"
    ),
    "rm": Case(
        ("cache", "rm", "--split", "test", "--yes", "--cache", "{}/cache"),
        lambda root: full_cache(root / "cache"),
        "cache",
        "has nothing of that",
    ),
}


# --- processes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """`status` is minus the signal of who was killed; `seconds` from the first write on."""

    status: int
    out: str
    seconds: float


def _run(words, disk=None, kill_after=None, first=0):
    """`cascade WORDS` in a process of its own, killed so many seconds after operation `first`."""
    reading, writing = os.pipe()
    if disk is None:
        disk = Disk(first, lambda file, data: os.write(writing, b"."))
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            _child(words, disk, said)
        os.close(writing)
        os.read(reading, 1)  # the first write, or the end
        begun = time.monotonic()
        if kill_after is not None:
            select.select([reading], [], [], kill_after)  # or its end, if that comes first
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        seconds = time.monotonic() - begun
        os.close(reading)
        said.seek(0)
        return Ended(status, said.read().decode(), seconds)


def _child(words, disk, said):
    status = 1
    try:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        sys.argv = ["cascade", *words]
        with disk():
            main()
    except SystemExit as ending:
        status = ending.code
    finally:
        with contextlib.suppress(ValueError):
            sys.stdout.flush()
        os._exit(status)


def _in_child(doing, *args):
    """The JSON that a function gives in a process of its own."""
    with tempfile.TemporaryFile("w+") as said:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                json.dump(doing(*args), said)
                said.flush()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        said.seek(0)
        return json.load(said)


def _counted(words):
    """The names of a whole run's operations, and of the modules that it imported."""
    disk = Disk()
    with disk(), contextlib.suppress(SystemExit), _silence():
        sys.argv = ["cascade", *words]
        main()
    return {"operations": disk.done, "modules": list(sys.modules)}


@contextlib.contextmanager
def _silence():
    with tempfile.TemporaryFile() as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        yield


# --- what is there -------------------------------------------------------------------------------


def seen(path):
    """{path: rows or what does not depend on the clock} of a cache or a copy; of a file its text,
    None where it is not there."""
    if path.suffix:
        return _text(path.read_bytes()) if path.exists() else None
    files = [file for file in path.rglob("*") if file.is_file()]
    found = {str(file.relative_to(path)): file.read_bytes() for file in files}
    return {name: _timeless(name, data) for name, data in found.items() if name[:5] != ".tmp/"}


def _timeless(name, data):
    if name.endswith(".parquet"):
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        return table.replace_schema_metadata()
    if name.startswith("_manifests/"):
        body = json.loads(data)
        parts = [(part["name"], part["rows"]) for part in body["parts"]]
        return body["table"], body["keys"], body["rows"], body["identity"], parts
    if name == "SHA256SUMS":
        return [line.split("  ", 1)[1] for line in data.decode().splitlines()]
    return _text(data)


def _text(data):
    return re.sub(r"- Made \S+ by", "", data.decode())


def partitions(found):
    """{manifest's path: it and its parts} of what `seen` gives."""
    out = {}
    for name in found:
        if name.startswith("_manifests/"):
            folder = name[len("_manifests/") : -len(".json")]
            table, keys, rows, identity, parts = found[name]
            files = {part: found[f"{folder}/{part}"] for part, _ in parts}
            out[name] = (table, keys, rows, identity, files)
    return out


# --- judging -------------------------------------------------------------------------------------


class Judge:
    """Of one command: what was there `before` it, and what is there `after` it undisturbed."""

    def __init__(self, name, root):
        self.case, self.root = CASES[name], root
        (root / "before").mkdir(parents=True)
        _in_child(lambda: (self.case.prepare(root / "before"), None)[1])
        counted = _in_child(_counted, self._words(self._place("counted")))
        _import(counted["modules"])
        names = counted["operations"]
        self.writes = [i for i, name in enumerate(names) if name not in _READS]
        place = self._place("undisturbed")
        done = _run(self._words(place), first=self.writes[0])
        assert done.status == 0, done.out
        self.seconds = done.seconds
        self.before, self.after = seen(self._watched(root / "before")), seen(self._watched(place))
        assert self.after == seen(self._watched(root / "counted")), "depends on the clock"
        assert self.after != self.before

    def _place(self, name):
        return Path(shutil.copytree(self.root / "before", self.root / name))

    def _words(self, place):
        return [word.format(place) for word in self.case.words]

    def _watched(self, place):
        return place / self.case.watched

    def kill(self, number, dice):
        """What was found after a kill: `before`, `midway` or `after`; or `late`."""
        place = self._place(str(number))
        words, watched = self._words(place), self._watched(place)
        if number % 2 == 0:
            ended = _run(words, Disk(dice.choice(self.writes), die))
        else:
            ended = _run(words, kill_after=dice.random() * self.seconds, first=self.writes[0])
        if ended.status != -signal.SIGKILL:
            assert ended.status == 0, ended.out
            self.seconds = min(self.seconds, ended.seconds)  # the machine has become quicker
            shutil.rmtree(place)
            return "late"
        state = self._judged_file(watched) if watched.suffix else self._judged_cache(watched)
        again = _run(words)
        if again.status == 2 and self.case.done and state != "before":
            assert self.case.done in again.out, again.out
        else:
            assert again.status == 0, again.out
        self._same(watched)
        shutil.rmtree(place)
        return state

    def _judged_file(self, path):
        there = seen(path)
        assert there in (self.before, self.after), there
        beside = [file for file in path.parent.iterdir() if file != path]
        assert len(beside) <= 1
        return "midway" if beside else "before" if there == self.before else "after"

    def _judged_cache(self, path):
        """Every partition is what it was or what it becomes, and verify tells just the rest."""
        there, known = seen(path), [partitions(each) for each in (self.before, self.after)]
        for name, whole in partitions(there).items():
            assert any(name in each and each[name] == whole for each in known), name
        told = _verified(path)
        if told is None:
            assert there == {}
            return "before"
        assert told["damaged"] == []
        named = {f"{name[11:-5]}/{part}" for name, p in partitions(there).items() for part in p[4]}
        parts = {name for name in there if name.endswith(".parquet")} - named
        waiting = {part for part in parts if part.rpartition("/")[0] in told["unfinished"]}
        assert parts - waiting <= set(told["strays"]) <= parts
        is_copy = self.case.watched == "copy"
        complete = there == self.after
        if is_copy:
            assert (told["unfinished_copy"] is None) == (complete or there == {})
        if complete and not parts:
            return "after"
        return "before" if there == self.before else "midway"

    def _same(self, watched):
        """As if nothing had happened, and nothing left over."""
        assert seen(watched) == self.after
        if watched.suffix:
            assert list(watched.parent.iterdir()) == [watched]
            return
        told = _verified(watched)
        for what in ("damaged", "strays", "unfinished"):
            expected = _waiting(self.after) if what == "unfinished" else []
            assert told[what] == expected, (what, told[what])
        assert told["unfinished_copy"] is None
        if self.case.watched == "copy":
            assert not [file for file in (watched / ".tmp").rglob("*") if file.is_file()]


def _waiting(after):
    """Folders of parts that no manifest names, in the undisturbed cache."""
    named = {name[11:-5] for name in partitions(after)}
    folders = {name.rpartition("/")[0] for name in after if name.endswith(".parquet")}
    return sorted(folders - named)


def _verified(path):
    """What verify says of a cache; None where there is none."""
    done = _run(("cache", "verify", "--json", "--cache", str(path)))
    if "there is no cache at" in done.out:
        assert done.status == 2
        return None
    told = json.loads(done.out)
    bad = bool(told["damaged"]) or told["unfinished_copy"] is not None
    assert done.status == (2 if bad else 0)
    return told


def _import(modules):
    for name in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def kills(name, count, root, seed=SEED):
    """{what was found: how often} of so many kills of a command; AssertionError for a wrong one."""
    os.fsync = lambda _: None  # what a killed process has written is there without
    judge, dice = Judge(name, Path(root)), random.Random(f"{seed} {name}")
    found = {"before": 0, "midway": 0, "after": 0, "late": 0}
    while (number := sum(found.values()) - found["late"]) < count:
        found[judge.kill(number, dice)] += 1
    return found | {"kills": count, "operations": len(judge.writes)}


_COLUMNS = ("kills", "before", "midway", "after", "late", "operations")

if __name__ == "__main__":
    several = int(sys.argv[1]) if sys.argv[1:] else 20
    print(f"{'command':<9}", *(f"{column:>10}" for column in _COLUMNS), flush=True)
    for command in sys.argv[2:] or CASES:
        with tempfile.TemporaryDirectory() as folder:
            row = kills(command, several, folder)
        print(f"{command:<9}", *(f"{row[column]:>10}" for column in _COLUMNS), flush=True)
