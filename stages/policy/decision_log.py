"""What a cascade decided, a line of JSON for each request, in files that many processes share.

Into the file that `cascade export --policy` writes goes this module, too, so it needs numpy alone.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import numpy as np

from stages.cascade import Outcome

LOG_VERSION = 1
_NO_SCORES = frozenset(("ran", "prediction"))


class DecisionLog:
    """Writes JSON Lines into files of a folder, of which each process has its own.

    `models` are the names of A, B …, `policy` is the SHA-256 of what decides, `last` what a last
    stage that is no model is called. A file that would pass `most_bytes` is followed by another;
    none is renamed or changed later. Where nothing can be written a warning says so, once, and
    `lost` counts the lines. Threads may share one.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        models: Sequence[str],
        policy: str | None = None,
        most_bytes: int = 1 << 26,
        last: str | None = None,
    ) -> None:
        self.folder, self.lost = os.fspath(folder), 0
        names = [*map(_json, models)]
        after = [] if last is None else [_json(last)]
        self._names = [*names, *after, "null"]  # −1 is a memory
        self._policy, self._models = _json(policy), f"[{','.join(names)}]"
        self._most, self._lock = most_bytes, threading.Lock()
        self._begun = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        self._file: int | None = None
        self._pid = self._size = self._number = 0
        self._told = False

    def write(
        self,
        keys: Sequence[str] | None,
        outcome: Outcome,
        answers: Sequence[Mapping[str, np.ndarray]],
        drawn: np.ndarray,
        latency_ms: float,
    ) -> None:
        """A line for each of n requests that were answered together, within `latency_ms`.

        Of each model `answers` has `ran` bool [n], `prediction` int32 [n], and float64 [n] of each
        score that is known of it. `drawn` bool [n]: all models ran whatever the rule said.
        ValueError where these are not of n requests.
        """
        if keys is not None and len(keys) != len(outcome.prediction):
            raise ValueError(f"there are {len(keys)} keys for {len(outcome.prediction)} requests")
        lines = [*self._lines(keys, outcome, answers, drawn, latency_ms)]
        if not lines:
            return
        data = "".join(lines).encode("ascii")
        with self._lock:
            try:
                self._append(data)
            except OSError as error:  # of a full disk no answer is the worse
                self._lose(len(lines), error)

    def close(self) -> None:
        """Close the file; what is written later goes to another."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
            self._file = None

    def _lines(
        self,
        keys: Sequence[str] | None,
        outcome: Outcome,
        answers: Sequence[Mapping[str, np.ndarray]],
        drawn: np.ndarray,
        latency_ms: float,
    ) -> Iterator[str]:
        n = len(outcome.prediction)
        time = datetime.now(UTC).isoformat(timespec="microseconds")
        begins = f'{{"v":{LOG_VERSION},"time":"{time}","key":'
        of = f',"policy":{self._policy},"models":{self._models},"answered":'
        ends = f',"latency_ms":{round(float(latency_ms), 4)!r},"batch":{n}}}\n'
        flags = {"escalated": outcome.escalated, "hit": outcome.hit}
        flags |= {"failed": outcome.failed, "drawn": drawn}
        columns = (
            ["null"] * n if keys is None else map(_json, keys),
            (self._names[k] for k in outcome.answered.tolist()),
            outcome.prediction.tolist(),
            *_lists(answers),
            *(_words(name, each, n) for name, each in flags.items()),
        )
        for key, answered, prediction, *more in zip(*columns, strict=True):
            yield f'{begins}{key}{of}{answered},"prediction":{prediction}{"".join(more)}{ends}'

    def _append(self, data: bytes) -> None:
        """In one call, so that what ends the process cuts one line at most."""
        file = self._file
        if file is None or self._pid != os.getpid() or self._size + len(data) > self._most:
            file = self._next()
        try:
            if os.write(file, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(file, self._size)  # half a line would hide those after it
            raise
        self._size += len(data)

    def _next(self) -> int:
        """A file that nobody else writes, in this process or another, here or on another host."""
        if self._file is not None and self._size == 0 and self._pid == os.getpid():
            return self._file  # one line alone is longer
        os.makedirs(self.folder, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        file = None
        while file is None:
            name = f"decisions-{self._begun}-{os.getpid()}-{self._number:04}.jsonl"
            self._number += 1
            with suppress(FileExistsError):
                file = os.open(os.path.join(self.folder, name), flags, 0o644)
        if self._file is not None:
            os.close(self._file)
        self._file, self._pid, self._size = file, os.getpid(), 0
        return file

    def _lose(self, lines: int, error: OSError) -> None:
        self.lost += lines
        if not self._told:
            self._told = True
            warnings.warn(
                f"the decision log in {self.folder} cannot be written ({error.strerror or error}): "
                "answers go on without it, and `lost` counts its lines",
                stacklevel=4,
            )


def _lists(answers: Sequence[Mapping[str, np.ndarray]]) -> Iterator[list[str]]:
    """Of each request its predictions by model, then each score that any model has."""
    scores = dict.fromkeys(name for each in answers for name in each if name not in _NO_SCORES)
    for name in ("prediction", *scores):
        heading = "predictions" if name == "prediction" else name
        rows = zip(*(_cells(each, name) for each in answers), strict=True)
        yield [f",{_json(heading)}:[{','.join(row)}]" for row in rows]


def _cells(answers: Mapping[str, np.ndarray], name: str) -> list[str]:
    """Of a model's requests; null where it did not run, or what it gave is no number of JSON."""
    values, ran = answers.get(name), answers["ran"]
    if values is None:
        return ["null"] * len(ran)
    rows = zip(values.tolist(), (ran & np.isfinite(values)).tolist(), strict=True)
    return [repr(value) if there else "null" for value, there in rows]


def _words(name: str, flags: np.ndarray | None, n: int) -> list[str]:
    """false where nobody tells."""
    no, yes = (f',"{name}":{word}' for word in ("false", "true"))
    return [no] * n if flags is None else [yes if each else no for each in flags.tolist()]


def _json(text: str | None) -> str:
    """In ASCII; of what is no Unicode, as in names of files, its bytes are spelt out."""
    if text is None:
        return "null"
    return json.dumps(str(text).encode("utf-8", "backslashreplace").decode())
